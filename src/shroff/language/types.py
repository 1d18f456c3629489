"""The types of the language.

A value of each type in memory:

    text, choice     str
    integer          int, stored in 64 bits
    number           int, the value times 10**places
    money            int, smallest units: the value times 10**places
    real             float, finite
    boolean          bool
    time             int, UTC milliseconds
    duration         int, milliseconds

A missing value of any type is None. Exact types (integer, number, money) are calculated as integers; a real is the
float nearest to the value in whole units.
"""

from __future__ import annotations

from shroff.runtime.values import FrozenStruct

PLACES_MAX = 12
NUMBER_PLACES = 6
UNITS_MAX = 10**15  # largest valid money or number, in smallest units
INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
WIDE_MIN = -(2**127)
WIDE_MAX = 2**127 - 1
HASHED, JOINED = "hashed", "joined"  # ordered: a text with parts of both kinds is joined
HASHED_END = 4  # last characters of a hashed text, stored in clear behind its hash
NAMES = "text integer number real money boolean time duration choice".split()

CODES = frozenset(  # of ISO 4217, as of 2026
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
    "CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD "
    "MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN "
    "PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD "
    "TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG".split()
)
PLACES = {  # for currencies that do not have 2
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
ORIGINAL_PLACES = 4  # the most that a currency has


class Type(FrozenStruct):
    """One type.

    Args:
        places: Decimal places of a number or of money.
        hashing: Of texts: HASHED if a keyed hash replaces the value, JOINED if the text contains such hashes.
    """

    kind: str
    places: int = 0
    choices: tuple[str, ...] = ()
    is_open: bool = False  # a choice whose list ends with `...`
    hashing: str = ""

    def __repr__(self) -> str:
        """Leave out `hashing`: this text identifies state, whose layout does not depend on it."""
        return f"Type(kind={self.kind!r}, places={self.places!r}, choices={self.choices!r}, is_open={self.is_open!r})"

    @property
    def is_exact(self) -> bool:
        return self.kind in {"integer", "number", "money"}

    @property
    def is_numeric(self) -> bool:
        return self.is_exact or self.kind == "real"

    @property
    def is_text(self) -> bool:
        return self.kind in {"text", "choice"}

    @property
    def key_form(self) -> object:
        """Return an object that is equal for two types whose equal values are equal keys."""
        return self.is_text or (self.is_exact or self.kind, self.places)

    def __str__(self) -> str:
        return self.kind


TEXT = Type("text")
INTEGER = Type("integer")
REAL = Type("real")
BOOLEAN = Type("boolean")
TIME = Type("time")
DURATION = Type("duration")
NOTHING = Type("missing")  # type of the literal `missing`, which fits any type


def number(places: int = NUMBER_PLACES) -> Type:
    """Return the exact decimal type with this many places."""
    return Type("number", places)


def money(places: int) -> Type:
    """Return the money type with this many places."""
    return Type("money", places)


def places_of(currency: str) -> int:
    """Return the decimal places of a currency; 2 for a code that is not in ISO 4217."""
    return PLACES.get(currency, 2)
