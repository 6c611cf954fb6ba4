"""What is read from certificates, beside what the cryptography library reads."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from beats_core.certificates import Certificate, from_pem

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
EC = ec.generate_private_key(ec.SECP256R1())
KEYS: list[Key] = [EC, rsa.generate_private_key(65_537, 2048), ed25519.Ed25519PrivateKey.generate()]


def name(**texts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(getattr(x509.NameOID, kind.upper()), text) for kind, text in texts.items()])


def made(
    subject: x509.Name,
    *,
    key: Key = EC,
    issuer: x509.Name | None = None,
    begins: datetime = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC),
    ends: datetime = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        subject if issuer is None else issuer, subject, key.public_key(), 2**158 + 1, begins, ends
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_fingerprint_and_pin_are_the_digests_that_openssl_shows(key: Key) -> None:
    theirs = made(name(common_name="one"), key=key)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    ours = Certificate(der(theirs))

    assert theirs.fingerprint(hashes.SHA256()).hex() == ours.fingerprint
    assert b64encode(hashlib.sha256(public).digest()).decode() == ours.pin


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (name(common_name="Corp Root CA", organization_name="Corp"), "Corp Root CA"),
        (name(organization_name="Corp", organizational_unit_name="Logging"), "Corp, Logging"),
        (name(country_name="DE"), "nobody"),
        (name(), "nobody"),
        (name(common_name="Bücher GmbH — 株式会社"), "Bücher GmbH — 株式会社"),
        (name(common_name="line\nbreak\x1b[31m"), "line?break?[31m"),
    ],
)
def test_names_are_as_a_person_would_say_them_and_fit_for_a_log(subject: x509.Name, said: str) -> None:
    certificate = Certificate(der(made(name(common_name="leaf"), issuer=subject)))

    assert ("leaf", "leaf", said) == (certificate.subject, certificate.common_name, certificate.issuer)


def test_a_name_is_cut_where_it_could_fill_a_log() -> None:
    assert "a" * 64 == Certificate(der(made(name(common_name="a" * 64)))).subject
    long = x509.SubjectAlternativeName([x509.DNSName(".".join(["a" * 60] * 4))])
    (only,) = Certificate(der(made(name(), extensions=(long,)))).names
    assert 100 == len(only)


def test_other_encodings_of_text_are_read() -> None:
    for kind in (x509.name._ASN1Type.BMPString, x509.name._ASN1Type.T61String, x509.name._ASN1Type.PrintableString):  # noqa: SLF001
        attribute = x509.NameAttribute(x509.NameOID.COMMON_NAME, "Corp", kind, _validate=False)
        certificate = Certificate(der(made(x509.Name([attribute]))))
        assert "Corp" == certificate.subject


def test_hosts_and_addresses_are_listed_in_order() -> None:
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("*.example.com"),
            x509.RFC822Name("someone@example.com"),
            x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
            x509.UniformResourceIdentifier("spiffe://example"),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.DNSName("logstash"),
        ]
    )

    certificate = Certificate(der(made(name(common_name="not me"), extensions=(names,))))

    assert ("*.example.com", "10.0.0.1", "2001:db8::1", "logstash") == certificate.names


def test_without_alternative_names_there_are_none() -> None:
    certificate = Certificate(der(made(name(common_name="logstash"))))

    assert () == certificate.names
    assert "logstash" == certificate.common_name
    assert "" == Certificate(der(made(name(organization_name="Corp")))).common_name


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ((x509.BasicConstraints(ca=True, path_length=None),), True),
        ((x509.BasicConstraints(ca=True, path_length=3),), True),
        ((x509.BasicConstraints(ca=False, path_length=None),), False),
        ((), False),
    ],
)
def test_an_authority_is_who_says_so_in_its_constraints(
    extensions: tuple[x509.ExtensionType, ...], *, expected: bool
) -> None:
    assert expected is Certificate(der(made(name(common_name="CA"), extensions=extensions))).is_ca


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2049, 2050, 2999])
def test_dates_are_read_in_both_notations(year: int) -> None:
    begins = datetime(year, 7, 1, 23, 59, 58, tzinfo=UTC)

    certificate = Certificate(der(made(name(), begins=begins, ends=begins + timedelta(days=1))))

    assert (begins, begins + timedelta(days=1)) == (certificate.not_before, certificate.not_after)


def test_pem_text_gives_all_its_certificates_whatever_stands_between_them() -> None:
    one, other = (made(name(common_name=text)) for text in ("one", "other"))
    text = "# Főtanúsítvány\r\n".encode().join(
        certificate.public_bytes(serialization.Encoding.PEM).replace(b"\n", b"\r\n") for certificate in (one, other)
    )

    assert ["one", "other"] == [certificate.subject for certificate in from_pem(text)]
    assert [] == from_pem(b"no certificates")


def test_pem_text_that_is_only_half_there_is_refused() -> None:
    text = made(name(common_name="one")).public_bytes(serialization.Encoding.PEM)

    for half in (text[:30], text[:100], text[:-9], text[:27] * 100_000):
        with pytest.raises(ValueError, match="its end is missing"):
            from_pem(text + half)


@pytest.mark.parametrize("body", [b"", b"AAAA", b"not base64!", b"MAA=", b"MIID", b"MAMCAQE="])
def test_pem_text_with_a_damaged_certificate_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind is the promise
        from_pem(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")


WHOLE = der(made(name(common_name="leaf"), extensions=(x509.BasicConstraints(ca=True, path_length=0),)))


def tlv(tag: int, *contents: bytes) -> bytes:
    """An element of DER, as long as it is short."""
    content = b"".join(contents)
    return bytes([tag, *((len(content),) if len(content) < 0x80 else (0x81, len(content)))]) + content


def by_hand(*fields: bytes, not_before: bytes = tlv(0x17, b"240229123015Z")) -> bytes:
    """A certificate of version 1, with more fields behind those."""
    nothing, validity = tlv(0x30), tlv(0x30, not_before, tlv(0x18, b"20500101000000Z"))
    key = tlv(0x30, tlv(0x30), tlv(0x03, b"\0"))
    return tlv(0x30, tlv(0x30, tlv(0x02, b"\1"), nothing, nothing, validity, nothing, key, *fields), nothing, tlv(0x03))


def test_a_certificate_of_the_first_version_has_no_extensions() -> None:
    certificate = Certificate(by_hand())

    assert (False, ()) == (certificate.is_ca, certificate.names)
    assert datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC) == certificate.not_before
    assert datetime(2050, 1, 1, tzinfo=UTC) == certificate.not_after


def test_identifiers_of_issuer_and_subject_are_passed_over() -> None:
    constraints = tlv(0x30, tlv(0x06, b"\x55\x1d\x13"), tlv(0x04, tlv(0x30, tlv(0x01, b"\xff"))))

    assert Certificate(by_hand(tlv(0x81, b"\0"), tlv(0x82, b"\0"), tlv(0xA3, tlv(0x30, constraints)))).is_ca


@pytest.mark.parametrize(
    "time",
    [
        tlv(0x04, b"240229123015Z"),
        tlv(0x17, b"2402291230Z"),
        tlv(0x17, b"240230123015Z"),
        tlv(0x17, b"240229123015+0100"),
        tlv(0x18, b"20240229123015.5Z"),
        tlv(0x17, b""),
    ],
)
def test_what_is_no_date_is_refused(time: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        Certificate(by_hand(not_before=time))


def test_bytes_behind_a_certificate_are_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        Certificate(WHOLE + WHOLE)


@given(end=st.integers(0, len(WHOLE) - 1))
def test_a_certificate_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        Certificate(WHOLE[:end])


@given(data=st.binary(max_size=200))
def test_of_arbitrary_bytes_come_only_value_errors(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        Certificate(data)


@given(position=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_wrong_byte_is_a_value_error_or_harmless(position: int, byte: int) -> None:
    changed = WHOLE[:position] + bytes([byte]) + WHOLE[position + 1 :]
    try:
        certificate = Certificate(changed)
    except ValueError:
        return
    assert certificate.subject.isprintable()


@pytest.mark.parametrize(
    "whole",
    [
        b"\x30\x80\x00\x00",  # of no definite length
        b"\x30\x81\x01\x00",  # of a length that fits into less
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x84\x00\x00\x01\x00" + bytes(256),
        b"\x3f\x01\x00",  # of a tag of several bytes
    ],
)
def test_what_is_not_der_is_refused(whole: bytes) -> None:
    with pytest.raises(ValueError, match=r"length|tag"):
        Certificate(whole)


def test_all_authorities_of_this_system_are_read() -> None:
    for whole in ssl.create_default_context().get_ca_certs(binary_form=True):
        certificate = Certificate(whole)
        assert certificate.not_before < certificate.not_after
        assert certificate.issuer
