"""What a file looks like that holds no table, and which step would make one of it."""

# How a file begins, what it is then, and what to do. Longest beginnings first where one contains another.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself",
        "fetch it with `git lfs pull`",
    ),
    (b"/annex/objects/", "is a pointer of git-annex, not the file itself", "fetch it with `git annex get`"),
    (b"../.git/annex/", "is a pointer of git-annex, not the file itself", "fetch it with `git annex get`"),
    (b"PARE", "is an encrypted Parquet file", "decrypt it first"),
    (
        b"\xd0\xcf\x11\xe0",
        "is an Excel workbook with a password, or one of before 2007 (.xls)",
        "save it as .xlsx or .csv without a password",
    ),
    (b"-----BEGIN PGP", "is encrypted (PGP)", "decrypt it first"),
    (b"age-encryption.org", "is encrypted (age)", "decrypt it first"),
    (b"Salted__", "is encrypted (openssl)", "decrypt it first"),
    (b"SQLite format 3", "is an SQLite database", "export the table from it as CSV"),
    (b"\x89HDF", "is an HDF5 file", "save the table in it with pandas' to_parquet"),
    (
        b"\x80\x02",
        "is a pickle, which can run code when it is opened",
        "save the table with pandas' to_parquet",
    ),
    (
        b"\x80\x03",
        "is a pickle, which can run code when it is opened",
        "save the table with pandas' to_parquet",
    ),
    (
        b"\x80\x04",
        "is a pickle, which can run code when it is opened",
        "save the table with pandas' to_parquet",
    ),
    (
        b"\x80\x05",
        "is a pickle, which can run code when it is opened",
        "save the table with pandas' to_parquet",
    ),
    (b"\x93NUMPY", "is a NumPy array, whose columns have no names", "save it as CSV with a line of names"),
    (b"%PDF", "is a PDF", "copy its table into a CSV file"),
    (b"\x89PNG", "is a picture", "copy its table into a CSV file"),
    (b"\xff\xd8\xff", "is a picture", "copy its table into a CSV file"),
    (b"GIF8", "is a picture", "copy its table into a CSV file"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "unpack it first"),
    (b"Rar!", "is a RAR archive", "unpack it first"),
    (b"\x7fELF", "is a program", "name a table"),
)
_TAR = b"ustar"


def looks_like(content: bytes) -> str | None:
    """What a file is that holds no table, and what to do, as the end of a sentence; None if it may hold one."""
    if not content.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        what = "is empty (0 bytes)" if not content else f"holds only spaces ({len(content):,} bytes)"
        return f"{what}: was its writing interrupted?"
    for beginning, what, step in _BEGINNINGS:
        if content.startswith(beginning):
            return f"{what}: {step}."
    if content[257:262] == _TAR:
        return "is a tar archive: unpack it first."
    start = content[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<head>" in start[:500]:
        return (
            "is a web page, not a table: it was perhaps saved from a page that shows the table, so download the file "
            "itself (on GitHub: Raw)."
        )
    if start.startswith(b"<?xml"):
        return "is XML: save the table in it as CSV."
    if start.startswith((b"\\begin", b"\\documentclass")):
        return "is LaTeX: save its table as CSV."
    return None


def is_binary(content: bytes) -> bool:
    """Whether bytes are no text in any encoding that a table has: more than 1 in 100 is a control character."""
    sample = content[:100_000]
    control = sum(sample.count(bytes([code])) for code in range(32) if code not in (9, 10, 12, 13))
    return control > len(sample) / 100
