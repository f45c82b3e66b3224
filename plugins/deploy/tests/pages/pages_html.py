"""What a page consists of, and whether it is well made."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "img", "path", "circle", "rect", "line", "polyline", "hr"}


class Parsed(HTMLParser):
    """Elements with their attributes, the text, and everything that is wrong with them."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words, self.wrong, self._open = [], [], [], []
        self.feed(html)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self._open]
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        self.wrong += [f"id {one} is there twice" for one in set(ids) if ids.count(one) > 1]
        named = {attributes["for"] for name, attributes in self.elements if name == "label"}
        for name, attributes in self.elements:
            if name in {"input", "select", "textarea"} and attributes.get("type") != "hidden":
                if attributes.get("id") not in named:
                    self.wrong.append(f"{name} {attributes} has no label")
            if name == "script" and not attributes.get("src", "").startswith("/static/"):
                self.wrong.append(f"foreign script {attributes}")
            self.wrong += [
                f"{name} has {key}"
                for key in attributes
                if key.startswith("on") or key in {"style", "srcdoc"}
            ]
            for key in ("aria-labelledby", "aria-describedby", "list"):
                self.wrong += [
                    f"no {one} for {key}" for one in attributes.get(key, "").split() if one not in ids
                ]

    def handle_starttag(self, name, attributes):
        self.elements.append((name, {key: value or "" for key, value in attributes}))
        if name not in VOID:
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, {key: value or "" for key, value in attributes}))

    def handle_endtag(self, name):
        if not self._open or self._open[-1] != name:
            self.wrong.append(f"</{name}> where {self._open[-1:]} is open")
        else:
            self._open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, name):
        return [attributes for element, attributes in self.elements if element == name]


def parsed(answer):
    """A page that was answered; fails if it is not well made."""
    made = Parsed(answer.text)
    assert not made.wrong, made.wrong
    return made
