"""How imagers and other programs name image files: one regular expression per form, each with the program it is from.

An expression is matched against a path without its suffix; with slashes, against the folders above the file too.
`names.GROUPS` lists the groups.
"""

from __future__ import annotations

from dataclasses import dataclass

# RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_01_01_HF_99_030_001_RDI: model, imager, five fields of the
# site, barcode padded to 12 characters, inspection, date, column, row, subwell, illumination, slice (99: the best-focus
# composite), exposure, frame, device. Read like this by github.com/CMD-Oxford/TeXRank (SortFilesNoBarcode.m).
RIGAKU = (
    r"(?:[^_]*_){7}0*(?P<barcode>[^_/]+?)_(?P<inspection>\d{3,})_(?P<date>\d{6})"
    r"_(?P<column>\d{2})_(?P<row>\d{2})_(?P<subwell>\d{2})_[^_]+_[^_]+_[^_]+_[^_]+_[^_]+"
)

# RockMakerStorage/WellImages/100/plateID_3100/batchID_17409/wellNum_6/profileID_1/d1_r260654_ef.jpg: the plate's
# number modulo 1000, the plate's number (not its barcode), imaging session, well (left to right, then down), capture
# profile, drop, region, kind of image. Written and read like this by github.com/roberto-formulatrix/RM_Image_export
# (ImageExporter.cs), github.com/xchem/formulatrix_pipe (transfer_images.py) and xtalPiMS (ManufacturerVersion.java).
# Plate folders without the underscore exist.
ROCKIMAGER = (
    r"plateID_?(?P<barcode>\d+)/batchID_(?P<inspection>\d+)/wellNum_(?P<well>\d+)/profileID_\d+"
    r"/d(?P<subwell>\d+)_r\d+_ef"
)
# Next to the extended-focus image (_ef) are its slices, thumbnails (_th) and drawings of the drop's location (_dl).
ROCKIMAGER_OTHERS = r"d\d+_r\d+_(?!ef$).+"
# The same as one name, as in MARCO's images: folderID100_plateID3100_batchID17409_wellNum6_profileID1_d1_r260654_ef
ROCKIMAGER_IN_ONE = (
    r"(?:folderID_?\d+_)?plateID_?(?P<barcode>\d+)_batchID_?(?P<inspection>\d+)_wellNum_?(?P<well>\d+)_profileID_?\d+"
    r"_d(?P<subwell>\d+)_r\d+_ef"
)

# DEMO000001/Crystal/DEMO000001_A1_Default_7_17409.jpg: barcode, a person's score, well, capture profile without blanks,
# the score's hot key, imaging session, which earlier versions left out. The drop's number is not written: a well's
# second drop is left out by the program if it has the first one's score, so that its file would have the same name.
# RM_Image_export (ImageExporter.cs, ExportPlate).
_EXPORTED = r"(?P<barcode>[^/]+)/(?P<score>[^/]+)/(?P=barcode)_(?P<row>[A-Z]{1,2})(?P<column>\d{1,2})_[^/]+_[^/_]{0,2}"
ROCKMAKER_EXPORT = (rf"{_EXPORTED}_(?P<inspection>\d+)", _EXPORTED)

# 90j8_2018-04-11_RI1000-0081-2drop/90j8_01A_1.jpg: barcode, date, imager and plate type; column, row, drop.
# formulatrix_pipe (transfer_images.py); read by github.com/DiamondLightSource/xchembku (swiss3.py) and echolocator.
XCHEM = (
    r"(?P<barcode>[^/_]+)_(?P<date>\d{4}-\d\d-\d\d)_[^/]*/(?P=barcode)_(?P<column>\d\d)(?P<row>[A-P])_(?P<subwell>\d)",
    r"(?P<barcode>[^/_]+)_(?P<column>\d\d)(?P<row>[A-P])_(?P<subwell>\d)",
)

# X000015159202006021234-jpg/X0000151590001202006021234.jpg, 1,536-well plates of the Hauptman-Woodward institute:
# plate, date of the run and light; plate, well, date and time of the image, as read by
# github.com/Hauptman-Woodward/Marco_Polo (io_utils.py, parse_HWI_filename_meta; run.py, parse_dirname_metadata). We
# assume that wells are numbered along the 48 columns.
HWI = (
    r"(?P<barcode>[A-Z]\d{9})(?P<date>\d{12})(?:-\w+)?/(?P=barcode)(?P<well>\d{4})\d{12}(?:\d\d)?",
    r"(?P<barcode>[A-Z]\d{9})(?P<well>\d{4})(?P<date>\d{12}(?:\d\d)?)",
)
HWI_COLUMNS = 48

# plate/20191211_151023/A1a.jpg: the plate's folder, date and time, well, and subwell if there are several. The slices
# from which it was stacked are in a folder rawimages. github.com/LP-CDF/AMi_Image_Analysis (README, utils.py).
AMI = r"(?P<date>\d{8}_\d{6})/(?P<row>[A-P])(?P<column>\d{1,2})(?P<subwell>[a-z])?"
AMI_OTHERS = r"(?:.*/)?(?:rawimages|cropped)/[^/]+"

# MARCO (Bruno et al. 2018, doi 10.1371/journal.pone.0198883) kept each laboratory's names and joined folders to them.
MARCO = (
    (RIGAKU, 0),
    (ROCKIMAGER_IN_ONE, 0),
    (HWI[1], HWI_COLUMNS),
    # 04g4_D7_ImagerDefaults_3: an earlier form of RM_Image_export: plate, well, imaging profile, the score's hot key
    (r"(?P<barcode>[0-9a-z]{4})_(?P<row>[A-P])(?P<column>\d{1,2})_[A-Za-z]+_\d+", 0),
    # C10_HighResolution_Crystal_1: no plate
    (r"(?P<row>[A-P])(?P<column>\d{1,2})_[A-Za-z]+_[A-Za-z]+_\d+", 0),
)


@dataclass(frozen=True, slots=True)
class Convention:
    """A program's way of naming images.

    Attributes
    ----------
    patterns
        Regular expressions, each with the number of columns of its plates; 0: not known.
    example
        A name, with its folders.
    others
        Regular expression for files that are not to be scored; empty for none.
    ignores_case
        Whether capital and small letters are the same.
    """

    patterns: tuple[tuple[str, int], ...]
    example: str
    others: str = ""
    ignores_case: bool = False


CONVENTIONS = {
    "rigaku": Convention(
        ((RIGAKU, 0),), "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_02_03_HF_99_030_001_RDI.jpg"
    ),
    "rockimager": Convention(
        ((ROCKIMAGER, 0), (ROCKIMAGER_IN_ONE, 0)),
        "plateID_3100/batchID_17409/wellNum_6/profileID_1/d1_r260654_ef.jpg",
        f"(?:.*_)?{ROCKIMAGER_OTHERS}",
        ignores_case=True,
    ),
    "rockmaker-export": Convention(
        tuple((pattern, 0) for pattern in ROCKMAKER_EXPORT), "DEMO000001/Crystal/DEMO000001_A1_Default_7_17409.jpg"
    ),
    "xchem": Convention(tuple((pattern, 0) for pattern in XCHEM), "90j8_2018-04-11_RI1000-0081-2drop/90j8_01A_1.jpg"),
    "hwi": Convention(
        tuple((pattern, HWI_COLUMNS) for pattern in HWI), "X000015159202006021234-jpg/X0000151590001202006021234.jpg"
    ),
    "ami": Convention(((AMI, 0),), "plate7/20191211_151023/A1a.jpg", AMI_OTHERS),
    "marco": Convention(MARCO, "folderID100_plateID3100_batchID17409_wellNum6_profileID1_d1_r260654_ef.jpg"),
}
"""The conventions by their names in ``import.names``."""
