"""Other right answers to exercise 4, and the misconceptions that its checks must name."""

OTHER_SOLUTIONS = {
    "parse_json": [
        """
class Strict(json.JSONDecoder):
    def __init__(self):
        super().__init__(object_pairs_hook=self.build, parse_constant=self.no)

    @staticmethod
    def build(pairs):
        found = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(key)
            found[key] = value
        return found

    @staticmethod
    def no(name):
        raise ValueError(name)

def parse_json(text):
    return Strict().decode(text)
""",
        """
def parse_json(text):
    bad = []
    def check(pairs):
        keys = [key for key, _ in pairs]
        bad.extend(key for key in keys if keys.count(key) > 1)
        return dict(pairs)
    value = json.loads(text, object_pairs_hook=check, parse_constant=bad.append)
    if bad:
        raise ValueError(f"not standard JSON: {bad}")
    return value
""",
    ],
    "find_json": [
        """
def try_json(where, text):
    try:
        return where, parse_json(text)
    except ValueError:
        return None

def find_json(reply):
    found = try_json("whole", reply.strip())
    if not found and "```" in reply:
        parts = reply.split("```")
        if len(parts) > 2:
            found = try_json("fenced", parts[1].partition("\\n")[2])
    if not found and "{" in reply and "}" in reply:
        found = try_json("embedded", reply[reply.index("{"):reply.rindex("}") + 1])
    return list(found or ("nowhere", None))
""",
        """
def find_json(reply):
    patterns = {"whole": r"(.*)", "fenced": r".*?```[^\\n]*\\n(.*?)```", "embedded": r"[^{]*(\\{.*\\})"}
    for where, pattern in patterns.items():
        match = re.match(pattern, reply, re.DOTALL)
        if match:
            try:
                value = parse_json(match[1])
            except ValueError:
                continue
            return (where, value)
    return ("nowhere", None)
""",
    ],
    "valid_json": [
        """
def valid_json(reply):
    where, _ = find_json(reply)
    return where in ("whole", "fenced", "embedded")

def no_extra_text(reply):
    try:
        parse_json(reply)
    except ValueError:
        return False
    return True
""",
    ],
    "has_required_keys": [
        """
def has_required_keys(reply, required):
    where, value = find_json(reply)
    if type(value) is not dict:
        return False
    return set(required) <= set(value)
""",
        """
def has_required_keys(reply, required):
    _, value = find_json(reply)
    try:
        missing = [key for key in required if key not in value.keys()]
        return value.keys() is not None and not missing
    except AttributeError:
        return False
""",
    ],
    "invented": [
        """
def stands(text, source):
    text, source = text.strip().lower(), source.lower()
    word = lambda c: c.isalnum() or c == "_"
    start = source.find(text)
    while start >= 0:
        before, after = source[:start][-1:], source[start + len(text):][:1]
        if not word(before) and not word(after):
            return True
        start = source.find(text, start + 1)
    return False

def invented(values, source):
    return [k for k, v in values.items() if type(v) is str and v.strip() and not stands(v, source)]
""",
        """
def invented(values, source):
    texts = {key: value.strip().casefold() for key, value in values.items() if isinstance(value, str)}
    there = source.casefold()
    return [key for key, text in texts.items()
            if text and re.search(r"(^|\\W)" + re.escape(text) + r"(\\W|$)", there) is None]
""",
    ],
}

MISCONCEPTIONS = [
    ("parse_json", "def parse_json(text):\n    return json.loads(text)", "give `parse_constant` a function that raises"),
    ("parse_json", "def parse_json(text):\n    if 'NaN' in text:\n        raise ValueError('NaN')\n    return json.loads(text)",
     "do not search the text"),
    ("parse_json", "def parse_json(text):\n    def no(name):\n        raise ValueError(name)\n    return json.loads(text, parse_constant=no)",
     "compare the number of pairs"),
    ("parse_json", "def parse_json(text):\n    try:\n        return json.loads(text)\n    except ValueError:\n        return None",
     "let the ValueError of `json.loads` through"),
    ("find_json", """
def find_json(reply):
    for where, text in (("whole", reply), ("embedded", reply[reply.find("{"):reply.rfind("}") + 1]),
                        ("fenced", reply.split("```")[1].partition("\\n")[2] if "```" in reply else "")):
        try:
            return where, parse_json(text)
        except ValueError:
            pass
    return "nowhere", None
""", "try the fence before the braces"),
    ("find_json", """
def find_json(reply):
    fence = re.search(r"```[^\\n]*\\n(.*?)```", reply, re.DOTALL)
    for where, text in (("whole", reply), ("fenced", fence[1] if fence else ""),
                        ("embedded", reply[reply.find("{"):reply.rfind("}")])):
        try:
            return where, parse_json(text)
        except ValueError:
            pass
    return "nowhere", None
""", "a slice stops *before*"),
    ("find_json", """
def parse_or_none(text):
    try:
        return parse_json(text)
    except ValueError:
        return None

def find_json(reply):
    fence = re.search(r"```[^\\n]*\\n(.*?)```", reply, re.DOTALL)
    for where, text in (("whole", reply), ("fenced", fence[1] if fence else ""),
                        ("embedded", reply[reply.find("{"):reply.rfind("}") + 1])):
        if parse_or_none(text) is not None:
            return where, parse_or_none(text)
    return "nowhere", None
""", "use the ValueError"),
    ("valid_json", "def valid_json(reply):\n    return find_json(reply)[0] == 'whole'\n"
     "def no_extra_text(reply):\n    return find_json(reply)[0] == 'whole'", "look at the *where*"),
    ("valid_json", "def valid_json(reply):\n    return find_json(reply)[1] is not None\n"
     "def no_extra_text(reply):\n    return find_json(reply)[0] == 'whole'", "not at the value"),
    ("has_required_keys", "def has_required_keys(reply, required):\n    value = find_json(reply)[1]\n"
     "    return all(key in value for key in required)", "isinstance(value, dict)"),
    ("has_required_keys", "def has_required_keys(reply, required):\n    value = find_json(reply)[1]\n"
     "    return isinstance(value, dict) and all(value.get(key) for key in required)", "not for its value"),
    ("has_required_keys", "def has_required_keys(reply, required):\n    value = find_json(reply)[1]\n"
     "    return isinstance(value, dict) and any(key in value for key in required)", "not any"),
    ("has_required_keys", "def has_required_keys(reply, required):\n    value = find_json(reply)[1]\n"
     "    return isinstance(value, dict) and list(value) == list(required)", "in any order"),
    ("invented", "def invented(values, source):\n    return [k for k, v in values.items() if isinstance(v, str) and "
     "v.strip().lower() not in source.lower()]", "finds parts of words too"),
    ("invented", "def invented(values, source):\n    return [k for k, v in values.items() if isinstance(v, str) and v.strip() and "
     "not re.search(rf'(?<!\\w){v.strip()}(?!\\w)', source, re.I)]", ". is any character"),
    ("invented", "def invented(values, source):\n    return [k for k, v in values.items() if isinstance(v, str) and v.strip() and "
     "not re.search(rf'\\b{re.escape(v.strip())}\\b', source, re.I)]", "not `\\b`"),
    ("invented", "def invented(values, source):\n    return [k for k, v in values.items() if "
     "not re.search(rf'(?<!\\w){re.escape(str(v).strip())}(?!\\w)', source, re.I)]", "leave aside what is no text"),
    ("invented", "def invented(values, source):\n    return [v for k, v in values.items() if isinstance(v, str) and v.strip() and "
     "not re.search(rf'(?<!\\w){re.escape(v.strip())}(?!\\w)', source, re.I)]", "return the keys, not the values"),
]  # fmt: skip

EQUIVALENT_MUTANTS = {
    "find_json": [
        "for where, text in [('whole', reply), ('fenced', fence[1] if fence else ''), ('embedded', embedded)]: → for where, "
        "text in [('whole', reply), ('fenced', fence[1] if fence else 'XXXX'), ('embedded', embedded)]:: "
        "neither text is JSON",
    ],
}
