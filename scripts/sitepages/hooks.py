"""Hooks of MkDocs: adds the pages that are made from the code, and typesets equations as MathML.

MkDocs runs this file with its folder on the path; nothing here needs the network.
"""

from pathlib import Path

from catalog_pages import catalog_pages, linked, method_pages
from formulas import typeset
from message_pages import message_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference_pages import reference_pages
from setting_pages import setting_page
from shelf_pages import shelf_pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the page of every method in the navigation, and pages that mkdocs.yml has not."""
    sections = {title: pages for entry in config.nav for title, pages in entry.items()}
    sections["Methods"] += [{name: path} for name, path, _ in method_pages()]
    listed = str(config.nav)
    docs = Path(config.docs_dir)
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    sections["Guides"] += [path for path in pages if f"'{path}'" not in listed]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from the code."""
    docs = Path(config.docs_dir)
    pages = [
        *((path, text) for _, path, text in method_pages(docs)),
        *catalog_pages(docs),
        *reference_pages(),
        *shelf_pages(),
        ("settings.md", setting_page()),
        ("messages.md", message_page()),
    ]
    for path, text in pages:
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links the names in the table of methods, which is plain in the repository."""
    return linked(markdown) if page.file.src_uri == "methods/index.md" else markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Typesets the equations of a page."""
    return typeset(html)
