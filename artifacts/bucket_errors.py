"""What an S3 server or the way to it said, in one line for a person: which of the few things to fix."""

from __future__ import annotations

from typing import Any

from artifacts.errors import StoreUnavailable

LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
ABSENT = frozenset({"NoSuchKey", "404"})
TRANSIENT = frozenset({"SlowDown", "RequestTimeout", "OperationAborted"})  # besides every 5xx

CREDENTIALS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) and their expiry"
ADVICE = {
    "NoSuchBucket": "the bucket does not exist; create it or correct MINISERIES_STORE",
    "InvalidBucketName": "the bucket name is not valid; correct MINISERIES_STORE",
    "AccessDenied": "access denied (missing right, or read-only credentials); give these credentials "
    "GetObject, PutObject, DeleteObject and ListBucket on the bucket",
    "403": f"access denied; {CREDENTIALS}",
    "InvalidAccessKeyId": f"the access key is unknown; {CREDENTIALS}",
    "SignatureDoesNotMatch": f"the secret key is wrong; {CREDENTIALS}",
    "ExpiredToken": f"the session has expired; {CREDENTIALS}",
    "InvalidToken": f"the session token is not valid; {CREDENTIALS}",
    "RequestTimeTooSkewed": "this machine's clock is wrong by many minutes; correct it",
    "QuotaExceeded": "the quota is used up; free some space and run again",
    "EntityTooLarge": "an object is larger than the server accepts",
    "InsufficientCapacity": "the server is full; free some space and run again",
    "NotImplemented": "the server lacks a request that the store needs (conditional writes); use another server",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the region is wrong; set AWS_DEFAULT_REGION to the bucket's",
}


def error_code(error: BaseException) -> str:
    """The S3 error code inside an exception of botocore or s3fs, "" when the server did not send one."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def http_status(error: BaseException) -> int:
    """The HTTP status of the server's answer inside an exception, 0 when there was none."""
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed later: no answer, a broken connection, or a server in trouble.

    Ceph's answer to a replacement that loses a race is a 500 without a known code.
    """
    code = error_code(error)
    if code:
        return code in TRANSIENT or http_status(error) >= 500
    return type(error).__name__ not in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")


def _response(error: BaseException) -> dict[str, Any]:
    for candidate in (error, error.__cause__, error.__context__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def unavailable(error: BaseException, where: str) -> StoreUnavailable:
    """The one line that a person reads."""
    code, name = error_code(error), type(error).__name__
    if code:
        return StoreUnavailable(
            f"store {where}: {ADVICE.get(code, f'the server answered {code} ({error}); run again')}"
        )
    if name in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return StoreUnavailable(f"store {where}: no usable credentials ({error}); {CREDENTIALS}")
    if name in ("FSTimeoutError", "TimeoutError", "ReadTimeoutError", "ConnectTimeoutError"):
        return StoreUnavailable(
            f"store {where}: no answer in time; check the network and AWS_ENDPOINT_URL, then run again"
        )
    return StoreUnavailable(
        f"store {where}: cannot be reached ({name}: {error}); check the network and AWS_ENDPOINT_URL, then run again"
    )
