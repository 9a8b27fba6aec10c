"""Users' own series: a YAML file that varies a base recipe along axes makes new tags without touching code."""
