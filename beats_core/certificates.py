"""What we ask of an X.509 certificate, read from its DER bytes. Nothing here verifies anything; OpenSSL does.

Only as much ASN.1 as a certificate needs, and strict: definite lengths in their shortest form, no tag of two bytes,
nothing behind the end. Texts are made fit for a log: they are whatever a stranger wrote.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from binascii import a2b_base64
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"

_BOOLEAN, _OCTETS, _OID, _SEQUENCE, _SET = 0x01, 0x04, 0x06, 0x30, 0x31
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # the explicitly tagged fields of a TBSCertificate that we meet
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # of a GeneralName

_COMMON_NAME, _ORGANIZATION, _UNIT = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x04\x0b"
_ALTERNATIVE_NAMES, _BASIC_CONSTRAINTS = b"\x55\x1d\x11", b"\x55\x1d\x13"

_TEXT_ENCODINGS = {0x0C: "utf-8", 0x1E: "utf-16-be"}  # UTF8String, BMPString; the others are Latin-1 or less
_MOST_TEXT = 100  # characters of one name


class _Element(NamedTuple):
    tag: int
    content: bytes
    whole: bytes  # with tag and length


class Certificate:
    """One certificate.

    Args:
        der: Its bytes.

    Attributes:
        subject: Whose it is, as a person would call it: the common name, else organization and unit.
        issuer: Who signed it, in the same way.
        common_name: Of the subject; empty if it has none.
        names: The host names and addresses it is for: its subject alternative names.
        not_before: From when it is valid.
        not_after: Until when.
        is_ca: It may sign others.

    Raises:
        ValueError: The bytes are no certificate.
    """

    def __init__(self, der: bytes) -> None:
        self.der = der
        try:
            (certificate,) = _inside(der)
            fields = _inside(_inside(_expect(certificate, _SEQUENCE))[0].content)
            if fields[0].tag == _VERSION:
                del fields[0]
            _serial, _signature, issuer, validity, subject, key, *more = fields
            self._key = key.whole
            self.subject, self.issuer = (_called(_expect(name, _SEQUENCE)) for name in (subject, issuer))
            self.common_name = ", ".join(_attributes(subject.content).get(_COMMON_NAME, []))
            self.not_before, self.not_after = map(_moment, _inside(_expect(validity, _SEQUENCE)))
            extensions = _extensions(more)
            self.is_ca = _is_ca(extensions.get(_BASIC_CONSTRAINTS, b""))
            self.names = tuple(_alternative_names(extensions.get(_ALTERNATIVE_NAMES, b"")))
        except (IndexError, OverflowError) as error:
            raise ValueError("it ends too early") from error

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal: Filebeat's `ca_trusted_fingerprint`."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pin(self) -> str:
        """SHA-256 of the public key with its algorithm, in base64: Filebeat's `ca_sha256`."""
        return b64encode(hashlib.sha256(self._key).digest()).decode()


def from_pem(text: bytes) -> list[Certificate]:
    """Return the certificates in PEM text, and pass over all else in it.

    Raises:
        ValueError: One of them is none, or its end is missing, as in a file that is being written.
    """
    certificates = []
    for block in text.split(_BEGIN)[1:]:
        body, end, _ = block.partition(_END)
        if not end:
            raise ValueError("its end is missing")
        certificates.append(Certificate(a2b_base64(body)))
    return certificates


def _inside(content: bytes) -> list[_Element]:
    """Cut the content of a constructed element into its elements."""
    elements = []
    start = 0
    while start < len(content):
        tag, length = content[start], content[start + 1]
        if tag & 0x1F == 0x1F:
            raise ValueError(f"a tag of several bytes at {start}")
        begin = start + 2
        if length & 0x80:
            size = length & 0x7F
            begin += size
            length = int.from_bytes(content[start + 2 : begin])
            if not 1 <= size <= 3 or length < max(0x80, 1 << 8 * (size - 1)):
                raise ValueError(f"a length that is not in its shortest form at {start}")
        end = begin + length
        if end > len(content):
            raise ValueError(f"the element at {start} ends behind what holds it")
        elements.append(_Element(tag, content[begin:end], content[start:end]))
        start = end
    return elements


def _expect(element: _Element, tag: int) -> bytes:
    if element.tag != tag:
        raise ValueError(f"a tag {element.tag:#04x} where {tag:#04x} belongs")
    return element.content


def _attributes(name: bytes) -> dict[bytes, list[str]]:
    """Return the texts of a Name by the identifiers of their types."""
    texts: dict[bytes, list[str]] = {}
    for relative in _inside(name):
        for attribute in _inside(_expect(relative, _SET)):
            kind, value = _inside(_expect(attribute, _SEQUENCE))
            encoding = _TEXT_ENCODINGS.get(value.tag, "latin-1")
            texts.setdefault(_expect(kind, _OID), []).append(_fit_for_logs(value.content.decode(encoding, "replace")))
    return texts


def _called(name: bytes) -> str:
    attributes = _attributes(name)
    common = attributes.get(_COMMON_NAME)
    texts = common or [*attributes.get(_ORGANIZATION, []), *attributes.get(_UNIT, [])]
    return ", ".join(texts)[:_MOST_TEXT] or "nobody"


def _moment(time: _Element) -> datetime:
    text = time.content.decode("ascii", "replace")
    if time.tag == _UTC_TIME:
        text = ("20" if text < "5" else "19") + text  # RFC 5280, 4.1.2.5.1
    elif time.tag != _GENERALIZED_TIME:
        raise ValueError(f"a tag {time.tag:#04x} where a time belongs")
    if len(text) != len("YYYYMMDDhhmmssZ"):
        raise ValueError(f"no time: {text!r}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _extensions(fields: list[_Element]) -> dict[bytes, bytes]:
    extensions = {}
    for field in fields:
        if field.tag != _EXTENSIONS:
            continue
        (listed,) = _inside(field.content)
        for extension in _inside(_expect(listed, _SEQUENCE)):
            kind, *_, value = _inside(_expect(extension, _SEQUENCE))
            extensions[_expect(kind, _OID)] = _expect(value, _OCTETS)
    return extensions


def _is_ca(extension: bytes) -> bool:
    return any(
        part.tag == _BOOLEAN and part.content != b"\0"
        for constraints in _inside(extension)
        for part in _inside(_expect(constraints, _SEQUENCE))[:1]
    )


def _alternative_names(extension: bytes) -> list[str]:
    names = []
    for listed in _inside(extension):
        for name in _inside(_expect(listed, _SEQUENCE)):
            if name.tag == _DNS_NAME:
                names.append(_fit_for_logs(name.content.decode("latin-1")))
            elif name.tag == _IP_ADDRESS:
                names.append(str(ip_address(name.content)))
    return names


def _fit_for_logs(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MOST_TEXT])
