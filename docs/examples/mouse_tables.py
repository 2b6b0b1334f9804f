"""Mouse connectomes: write the tables that `tractome import` needs from the files of the data set.

    python mouse_tables.py MOUSE_CONNECTOMES_FOLDER OUT

`atlas.csv` lists 166 regions once; nodes 0 to 165 are those of the left hemisphere, 166 to 331 the right ones. The
features of each animal number the right regions from 1001.
"""

import csv
import sys
import tarfile
from pathlib import Path

source, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)

with (source / "atlas.csv").open(newline="") as file:
    structures = list(csv.DictReader(file))
names = [row["Structure"] for row in structures]
# Two structures share a name in the atlas; their abbreviation tells them apart.
names = [
    f"{name}_{row['Abbreviation']}" if names.count(name) > 1 else name
    for name, row in zip(names, structures, strict=True)
]
with (out / "mouse-332.tsv").open("w") as table:
    print("label", "name", "hemisphere", "structure", sep="\t", file=table)
    for side, offset in (("L", 0), ("R", 1000)):
        for name, row in zip(names, structures, strict=True):
            label = int(row["ROI"]) + offset
            print(label, f"{name}-{side}", side, row["Macrostructure"], sep="\t", file=table)

with tarfile.open(source / "edgelists.tar.gz") as archive:
    archive.extractall(out, filter="data")
print(f"{out}: mouse-332.tsv with {2 * len(structures)} regions, and {len(list(out.glob('edgelists/*')))} edge lists")
