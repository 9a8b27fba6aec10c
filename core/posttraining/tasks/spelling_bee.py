"""How often is a letter in a word? Counted twice: letter by letter, then by Python, and the two agree.

The question varies (50 wordings in nine languages, quotes, case, question mark); the answer is a function of word
and letter. Nine letters of ten come from the word, the others are drawn from the alphabet and are mostly not in it.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from core.posttraining.conversation import Conversation, Message, Part, assistant, user
from core.posttraining.tasks.judge import AnswerJudge, same_final_number
from core.posttraining.tasks.simple_spelling import spell
from core.posttraining.tasks.task import GeneratedTask

LETTER_FROM_WORD = 0.9
LOWERCASE = 0.3
QUESTION_MARK = 0.5
QUOTES = ("", "'", '"')

WORDINGS = (
    "How many {letter} are in {word}",
    "How many {letter} are there in {word}",
    "How many {letter} does {word} have",
    "How many {letter} does {word} contain",
    "How many times is {letter} in {word}",
    "How many times is {letter} used in {word}",
    "How many times does {letter} occur in {word}",
    "How many times does {letter} appear in the word {word}",
    "How many times do you see {letter} in {word}",
    "How often is {letter} in {word}",
    "How often does {letter} come up in {word}",
    "How often is the letter {letter} used to write {word}",
    "Count the letter {letter} in {word}",
    "Count every {letter} in the word {word}",
    "Can you count the {letter} in {word}",
    "Could you tell me how many {letter} {word} has",
    "Tell me the number of {letter} in {word}",
    "Give me the count of {letter} in {word}",
    "What is the number of {letter} in {word}",
    "What is the count of the letter {letter} in {word}",
    "Number of {letter} in {word}",
    "{word}: how many {letter}",
    "In {word}, how many letters are {letter}",
    "In the word {word}, how often do you find {letter}",
    "Looking at {word}, how many {letter} do you find",
    "If I write {word}, how many {letter} do I write",
    "Find all {letter} in {word}. How many are there",
    "Does {word} have the letter {letter}, and how many times",
    "¿Cuántas {letter} hay en {word}",
    "¿Cuántas veces aparece {letter} en {word}",
    "Cuenta las {letter} de la palabra {word}",
    "Combien de {letter} y a-t-il dans {word}",
    "Combien de fois la lettre {letter} est-elle dans {word}",
    "Compte les {letter} dans le mot {word}",
    "Wie viele {letter} sind in {word}",
    "Wie oft kommt {letter} in {word} vor",
    "Zähle die {letter} im Wort {word}",
    "Quante {letter} ci sono in {word}",
    "Quante volte compare {letter} nella parola {word}",
    "Quantas letras {letter} há em {word}",
    "Quantas vezes {letter} aparece em {word}",
    "{word} 里有几个 {letter}",
    "{word} 中有多少个字母 {letter}",
    "请数一数 {word} 中的 {letter}",
    "{word} に {letter} はいくつありますか",
    "{word} の中に {letter} は何個ありますか",
    "{word} に {letter} は何回出てきますか",
    "{word}에 {letter}가 몇 개 있나요",
    "{word}에는 {letter}가 몇 번 나오나요",
    "단어 {word}에서 {letter}의 개수를 세어 주세요",
)


def make(generator: random.Random, words: Sequence[str]) -> Conversation:
    """Draw a word, a letter and a wording."""
    word = generator.choice(words)
    alphabet = word if generator.random() < LETTER_FROM_WORD else string.ascii_lowercase
    letter = generator.choice(alphabet)
    return Conversation((user(_question(generator, word, letter)), _answer(word, letter)))


def _question(generator: random.Random, word: str, letter: str) -> str:
    wording = generator.choice(WORDINGS)
    if generator.random() < LOWERCASE:
        wording = wording.lower()
    around_letter, around_word = generator.choice(QUOTES), generator.choice(QUOTES)
    question = wording.format(
        letter=f"{around_letter}{letter}{around_letter}", word=f"{around_word}{word}{around_word}"
    )
    return question + ("?" if generator.random() < QUESTION_MARK else "")


def _answer(word: str, letter: str) -> Message:
    lines, count = [], 0
    for position, each in enumerate(word, start=1):
        count += each == letter
        lines.append(f"{position}:{each} hit! {count}" if each == letter else f"{position}:{each}")
    return assistant(
        f"{word}:{spell(word)}\n\nLooking for {letter}:\n"
        + "\n".join(lines)
        + f"\n\nThat makes {count}. In Python:\n\n",
        Part("python", f"'{word}'.count('{letter}')"),
        Part("python_output", str(count)),
        f"\n\nBoth ways give {count}.\n\n#### {count}",
    )


TASK = GeneratedTask(
    name="spelling-bee",
    unique_answer=True,
    judge=AnswerJudge(same_final_number),
    all_rows=None,
    make=make,
)
