"""Made-up field experiments in DSSAT's files, with the format's quirks; no number is measured anywhere."""

from __future__ import annotations

import math
from pathlib import Path

FILE_X = """*EXP.DETAILS: {code}{kind} MADE-UP EXPERIMENT

*GENERAL
@SITE
 Nowhere

*TREATMENTS                        -------------FACTOR LEVELS------------
@N R O C TNAME.................... CU FL SA IC MP MI MF MR MC MT ME MH SM
 1 1 0 0 RAINFED, LOW NITROGEN      1  1  0  1  1  0  1  0  0  0  0  0  1
 2 1 0 0 IRRIGATED, SHELTER         1  1  0  1  1  1  2  0  0  0  1  0  1
 3 1 0 0 WATERED AS NEEDED          1  1  0  0  1  0  0  0  0  0  0  0  2
 4 1 0 0 IRR + INSECT (CEW)         1  1  0  1  1  1  2  0  0  0  0  0  1

*CULTIVARS
@C CR INGENO CNAME
 1 {kind} IB0001 MADE UP ONE

*FIELDS
@L ID_FIELD WSTA....  FLSA  FLOB  FLDT  FLDD  FLDS  FLST SLTX  SLDP  ID_SOIL    FLNAME
 1 XXTS0001 {station}     -99     0 DR000     0     0 00000 -99    180  XXTS000001 Here

*INITIAL CONDITIONS
@C   PCR ICDAT  ICRT  ICND  ICRN  ICRE  ICWD ICRES ICREN ICREP ICRIP ICRID ICNAME
 1    {kind} {initial}   100     0     1     1   -99  1000    .8   -99   -99   -99 -99
@C  ICBL  SH2O  SNH4  SNO3
 1    30   .20   2.0   3.0
 1   150   .15    .5    .5
! 1    15 0.086   1.5   0.6

*PLANTING DETAILS
@P PDATE EDATE  PPOP  PPOE  PLME  PLDS  PLRS  PLRD  PLDP  PLWT  PAGE  PENV  PLPH  SPRL
 1 {sown}   -99     8   7.2     S     R    76     0     4   -99   -99   -99   -99   -99

*IRRIGATION AND WATER MANAGEMENT
@I  EFIR  IDEP  ITHR  IEPT  IOFF  IAME  IAMT IRNAME
 1   .75   -99   -99   -99   -99   -99   -99 -99
@I IDATE  IROP IRVAL
 1 {watered} IR001    40
 1 {watered} IR001   -99

*FERTILIZERS (INORGANIC)
@F FDATE  FMCD  FACD  FDEP  FAMN  FAMP  FAMK  FAMC  FAMO  FOCD FERNAME
 1 {sown} FE001 AP001    10    30     0     0     0     0   -99 -99
 2 {sown} FE001 AP001    10   100     0     0     0     0   -99 -99
 2 {watered} FE001 AP001    10    50     0     0     0     0   -99 -99

*ENVIRONMENT MODIFICATIONS
@E ODATE EDAY  ERAD  EMAX  EMIN  ERAIN ECO2  EDEW  EWIND ENVNAME
 1 {watered} A   0 A   0 A   0 A   0 M0.00 A   0 A   0 A   0
 1 {dry} A   0 A   0 A   0 A   0 M1.00 A   0 A   0 A   0

*SIMULATION CONTROLS
@N MANAGEMENT  PLANT IRRIG FERTI RESID HARVS
 1 MA              R     R     R     N     M
@N MANAGEMENT  PLANT IRRIG FERTI RESID HARVS
 2 MA              R     A     R     N     M
"""

SOIL = """*SOILS: made-up

*XXTS000001  Nowhere     -99     180 Made-up loam
@SITE        COUNTRY          LAT     LONG SCS FAMILY
 Nowhere     None          42.000  -93.000 None
@ SCOM  SALB  SLU1  SLDR  SLRO  SLNF  SLPF  SMHB  SMPX  SMKE
   -99  0.13   6.0  0.60  60.0  1.00  0.92 IB001 IB001 IB001
@  SLB  SLMH  SLLL  SDUL  SSAT  SRGF  SSKS  SBDM  SLOC  SLCL  SLSI  SLCF  SLNI  SLHW  SLHB  SCEC  SADC
    30   -99 0.100 0.200 0.400 1.000   -99  1.40  1.00   -99   -99   -99   -99   -99   -99   -99   -99
   150   -99 0.120 0.240 0.420 0.200   -99  1.50  0.20   -99   -99   -99   -99   -99   -99   -99   -99
   180   -99 0.300 0.310 0.320 0.000   -99  1.50  0.10   -99   -99   -99   -99   -99   -99   -99   -99
"""
KINDS = {"maize": "MZ", "soybean": "SB", "wheat": "WH"}


def weather(code: str, year: int, first: int, last: int, lost: tuple[int, ...] = ()) -> str:
    """A station's file for days `first` to `last` of a year."""
    lines = [
        "*WEATHER DATA : made up", "", "@ INSI      LAT     LONG  ELEV   TAV   AMP REFHT WNDHT",
        f"  {code}   42.000  -93.000   300   9.0  15.0  2.00  3.00", "! Made up for a test of the reader",
        "@DATE  SRAD  TMAX  TMIN  RAIN  DEWP  WIND               PAR",
    ]  # fmt: skip
    for day in range(first, last + 1):
        season = -math.cos(2.0 * math.pi * (day - 15) / 365.0)
        rain = 12.0 if day % 6 == 0 else 0.0
        low, high = 6.0 + 11.0 * season, 17.0 + 12.0 * season
        numbers = (14.0 + 9.0 * season, high, -99.0 if day in lost else low, rain)
        row = "".join(f"{v:6.1f}" for v in numbers)
        lines.append(f"{year % 100:02d}{day:03d}{row} -99.0 172.8              30.0")
    return "\n".join(lines) + "\n"


def experiment(
    root: Path, crop: str = "maize", code: str = "XXTS0101", sown: int = 1120, *, days: int = 150, scale: float = 1.0
) -> None:
    """Write one experiment of four treatments under root/crop/dssat, sown on a day YYDDD, measured every two weeks."""
    folder, kind = root / "crop" / "dssat", KINDS[crop]
    for name in (crop, "weather", "soil"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    year, start = divmod(sown, 1000)

    def written(after: int) -> str:
        return f"{year:02d}{start + after:03d}" if start + after <= 365 else f"{year + 1:02d}{start + after - 365:03d}"

    filled = FILE_X.format(
        code=code, kind=kind, station=f"{code[:4]}", initial=written(-5), sown=written(0), watered=written(40),
        dry=written(60),
    )  # fmt: skip
    (folder / crop / f"{code}.{kind}X").write_text(filled)
    lines = [f"*EXP. DATA (T): {code}", "! made up", "@TRNO   DATE  CWAD  LAID  GWAD  LWAD"]
    for treatment, share in ((1, 0.8), (2, 1.0), (3, 1.1), (4, 0.5)):
        for after in range(28, days, 14):
            grown = scale * share * 18000.0 / (1.0 + math.exp(-(after - 75) / 14.0))
            lai = 4.5 * share * math.exp(-(((after - 80) / 35.0) ** 2))
            grain = max(0.0, 0.5 * grown * min(1.0, (after - 80) / 50.0))
            lines.append(f"{treatment:6d} {written(after)}{grown:6.0f}{lai:6.2f}{grain:6.0f}   -99")
        lines.append(f"{treatment:6d} {written(days)}     .     .")
    lines.append(f"     1 {written(28)}{scale * 700.0:6.0f}  0.20     0   -99")
    (folder / crop / f"{code}.{kind}T").write_text("\n".join(lines) + "\n")
    ends = ["*EXP. DATA (A): made up", "@TRNO   HWAM  CWAM  ADAT  MDAT"]
    ends += [f"{n:6d} 9000.  18000 {int(written(75)) % 1000:5d} {int(written(135)) % 1000:5d}" for n in (1, 2)]
    (folder / crop / f"{code}.{kind}A").write_text("\n".join(ends) + "\n")
    (folder / "soil" / "XX.SOL").write_text(SOIL)
    for late in (0, 1):
        path = folder / "weather" / f"{code[:4]}{year + late:02d}01.WTH"
        path.write_text(weather(code[:4], year + late, 1, 365))
