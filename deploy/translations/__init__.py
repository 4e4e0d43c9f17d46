"""The catalogues of translations: what is to be translated, the .po files of translators, the .mo files of the package.

`python -m deploy.translations` renews them, `--check` only compares. Why not Babel or GNU gettext's own programs:
docs/decisions/0050-translations.md. The files are theirs: any editor of .po files and gettext's own programs read them.

A sentence was added: `make translations`, then fill in what is empty in station/locale/*/aquasmart.po, and again.
Another language: a folder with the header of es/aquasmart.po and its own `Language` and `Plural-Forms`, its code in
LANGUAGES (core/phrases.py), and the same.
"""
