"""Every sentence is there in every language."""

import gettext
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
LANGUAGES = [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
CATALOGUES = [(language, domain) for language in LANGUAGES for domain in ("django", "djangojs")]
SOURCES = ["diagnosis", "ml_model", "pneumonia_site", "templates", "static"]
PLACES = re.compile(r"%\(\w+\)[sd]|%[sd]|%%|\{\w+\}|<[^>]+>|`[^`]+`")
# How many of each number there are is in the word itself: Arabic has one for none, one and two.
SAY_THE_NUMBER_IN_WORDS = {"ar": {0, 1, 2}}


def catalogue(language: str, domain: str, root: Path = ROOT) -> Path:
    return root / "locale" / language / "LC_MESSAGES" / f"{domain}.po"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> Path:
    """A copy of the sources, with catalogues made anew of them."""
    if not shutil.which("xgettext"):
        pytest.skip("needs xgettext: apt-get install gettext")
    root = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        unneeded = shutil.ignore_patterns("trained", "tests", "__pycache__", "migrations", "docs")
        shutil.copytree(ROOT / name, root / name, ignore=unneeded)
    shutil.copytree(ROOT / "locale", root / "locale")
    for domain in ("django", "djangojs"):
        options = ["--all", "--domain", domain, "--add-location", "file", "--no-obsolete", "--verbosity", "0"]
        command = [sys.executable, "-m", "django", "makemessages", *options]
        subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return root


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_every_sentence_of_the_sources_is_translated(extracted, language, domain):
    entries = polib.pofile(str(catalogue(language, domain, extracted)))
    missing = [entry.msgid for entry in entries if entry.fuzzy or not entry.translated()]
    assert not missing, "make messages writes them into locale/ to be translated"
    kept = {entry.msgid for entry in polib.pofile(str(catalogue(language, domain)))}
    assert kept == {entry.msgid for entry in entries}, "make messages takes out what is no longer said"


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_translations_keep_what_is_put_into_them(language, domain):
    for entry in polib.pofile(str(catalogue(language, domain))):
        assert not entry.fuzzy, entry.msgid
        said = entry.msgstr_plural or {None: entry.msgstr}
        wanted = sorted(PLACES.findall(entry.msgid_plural or entry.msgid))
        for form, sentence in said.items():
            assert sentence, entry.msgid
            places = sorted(PLACES.findall(sentence))
            if entry.msgid_plural and form in SAY_THE_NUMBER_IN_WORDS.get(language, {0}):
                assert set(places) <= set(wanted), sentence
            else:
                assert places == wanted, sentence


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_what_is_compiled_is_what_is_written(language, domain):
    path = catalogue(language, domain)
    compiled = gettext.GNUTranslations(path.with_suffix(".mo").open("rb"))
    for entry in polib.pofile(str(path)):
        if entry.msgid_plural:
            forms = [compiled._catalog[entry.msgid, form] for form in entry.msgstr_plural]
            assert forms == list(entry.msgstr_plural.values()), "make messages compiles them"
        else:
            assert compiled.gettext(entry.msgid) == entry.msgstr, "make messages compiles them"
