#!/usr/bin/env python3
"""Fails where files of a crate import each other in a circle.

usage: .ci/circles.py [FOLDER]    prints a line for each circle; exit status 1 where there is one.

A file imports another where it names it, or something out of it, by a path that begins with `crate`, `super` or `self`; a name that
a module re-exports belongs to the file that defines it. Tests don't count, nor do imports between a module and the modules inside
it: a folder's own file declares and re-exports what is in the folder.
"""
import pathlib
import re
import sys

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(rf"\b(?:crate|super|self)(?:::{NAME})+")
TEST_FILE = re.compile(rf"#\[cfg\(test\)\]\s*mod ({NAME});")
TEST_BLOCK = re.compile(r"#\[cfg\(test\)\]\s*mod \w+\s*\{")


def read(file):
    """The code of a file, without comments, and without tests, which stand at its end."""
    text = re.sub(r'//[^\n]*|"(?:\\.|[^"\\])*"', "", file.read_text())
    return TEST_BLOCK.split(text)[0]


def flatten(tree):
    """The paths of `a::{b, c::{d}}`, each with the name that it gets."""
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = tree.partition(" as ")
        names = [name.strip() for name in path.strip().split("::")]
        if names[-1] == "self" and len(names) > 1:
            names.pop()
        return [(names, alias.strip() or names[-1])]
    items, depth, item = [], 0, ""
    for char in rest[: rest.rfind("}")]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += char
    return [path for item in items + [item] if item.strip() for path in flatten(head + item)]


class Crate:
    def __init__(self, source):
        files = {}
        for file in source.rglob("*.rs"):
            module = list(file.relative_to(source).with_suffix("").parts)
            if module[0] != "bin":  # programs of their own
                files[tuple(module[:-1] if module[-1] in ("mod", "lib", "main") else module)] = file
        self.files = dict(files)
        for module, file in files.items():
            for name in TEST_FILE.findall(file.read_text()):
                self.files.pop((*module, name), None)
        self.code = {module: read(file) for module, file in self.files.items()}
        self.uses = {module: [path for tree in USE.findall(code) for path in flatten(" ".join(tree.split()))]
                     for module, code in self.code.items()}

    def resolve(self, module, names, seen=()):
        """The file that the path `names`, as it stands in `module`, leads to; `None` outside of the crate."""
        if (module, tuple(names)) in seen:
            return None
        seen = (*seen, (module, tuple(names)))
        here, rest = module, list(names)
        if rest[0] == "crate":
            here = ()
        elif rest[0] == "super":
            here = module[:-1]
        elif rest[0] != "self" and (*module, rest[0]) not in self.files:
            return None
        if rest[0] in ("crate", "super", "self"):
            rest.pop(0)
        while rest and rest[0] == "super":
            here, rest = here[:-1], rest[1:]
        while rest and (*here, rest[0]) in self.files:
            here, rest = (*here, rest[0]), rest[1:]
        for path, alias in self.uses.get(here, ()) if rest else ():
            if alias == rest[0]:
                return self.resolve(here, path, seen) or here
            if alias == "*":
                inside = self.resolve(here, path[:-1], seen)
                if inside and re.search(rf"\b(?:fn|struct|enum|trait|type|const|static|union) {rest[0]}\b", self.code[inside]):
                    return inside
        return here if here in self.files else None

    def imports(self):
        graph = {}
        for module, code in self.code.items():
            paths = [path for path, _ in self.uses[module] if path[0] in ("crate", "super", "self")]
            paths += [path.split("::") for path in PATH.findall(USE.sub("", code))]
            found = {self.resolve(module, path) for path in paths} - {None}
            graph[module] = {to for to in found if to[: len(module)] != module and module[: len(to)] != to}
        return graph


def reach(graph, start):
    found, left = set(), [start]
    while left:
        for to in graph[left.pop()] - found:
            found.add(to)
            left.append(to)
    return found


def circles(graph):
    """The largest sets of files that all reach each other."""
    reached = {module: reach(graph, module) for module in graph}
    rings = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted(sorted(ring) for ring in rings if len(ring) > 1)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = 0
    for manifest in sorted(root.rglob("Cargo.toml")):
        source = manifest.parent / "src"
        if "target" in manifest.relative_to(root).parts or not source.is_dir():
            continue
        crate = Crate(source)
        for ring in circles(crate.imports()):
            found += 1
            print("import each other: " + ", ".join(str(crate.files[module].relative_to(root)) for module in ring))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
