"""The whole way, from files to files: stages in order, what is done is not done again."""

from tractome.pipeline.adopt import GivenOrientations, adopt_orientations
from tractome.pipeline.atlases import choose_atlases
from tractome.pipeline.check import CheckedFiles, check_files, files_to_check, require_sound
from tractome.pipeline.cohort import Cohort, find_cohort, read_cohort
from tractome.pipeline.connect import connect_atlases, connect_subject
from tractome.pipeline.dataset import Target, make_dataset
from tractome.pipeline.export import export_subject
from tractome.pipeline.fit import ScanFiles, find_scan, fit_subject
from tractome.pipeline.foreign import adopt_labels, adopt_tractogram, is_tractogram, name_parcellations
from tractome.pipeline.found import GivenFiles, SubjectSources, gather_sources
from tractome.pipeline.group import holds_many, make_group, read_repeated
from tractome.pipeline.import_matrices import MatrixFiles, files_by_subject, import_subject
from tractome.pipeline.layout import SubjectFolder, find_connectome, find_subject, require_free_folder, subject_label
from tractome.pipeline.ledger import Ledger
from tractome.pipeline.listener import Listener, LogListener
from tractome.pipeline.maps import MapFile, parse_map
from tractome.pipeline.parcellate import LabelSource, parcellate_subject
from tractome.pipeline.preprocess import preprocess_subject
from tractome.pipeline.raw import PreprocessFiles, preprocess_summary, wants_preprocessing
from tractome.pipeline.register import earlier_t1
from tractome.pipeline.run import RunOptions, SubjectFiles, run_subject, summarise_run
from tractome.pipeline.subject import new_subject, old_subject
from tractome.pipeline.threads import use_threads
from tractome.pipeline.tissue import earlier_files, tissue_subject, with_tissue
from tractome.pipeline.tissue_sources import TissueFiles
from tractome.pipeline.track import require_tracking_inputs, track_subject
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.pipeline.until import Until
from tractome.pipeline.weigh import WeighFiles, weigh_subject, weigh_tractogram

__all__ = [
    "CheckedFiles",
    "Cohort",
    "GivenFiles",
    "GivenOrientations",
    "LabelSource",
    "Ledger",
    "Listener",
    "LogListener",
    "MapFile",
    "MatrixFiles",
    "PreprocessFiles",
    "RunOptions",
    "ScanFiles",
    "SubjectFiles",
    "SubjectFolder",
    "SubjectSources",
    "Target",
    "TissueFiles",
    "TrackingFiles",
    "Until",
    "WeighFiles",
    "adopt_labels",
    "adopt_orientations",
    "adopt_tractogram",
    "check_files",
    "choose_atlases",
    "connect_atlases",
    "connect_subject",
    "earlier_files",
    "earlier_t1",
    "export_subject",
    "files_by_subject",
    "files_to_check",
    "find_cohort",
    "find_connectome",
    "find_scan",
    "find_subject",
    "fit_subject",
    "gather_sources",
    "holds_many",
    "import_subject",
    "is_tractogram",
    "make_dataset",
    "make_group",
    "name_parcellations",
    "new_subject",
    "old_subject",
    "parcellate_subject",
    "parse_map",
    "preprocess_subject",
    "preprocess_summary",
    "read_cohort",
    "read_repeated",
    "require_free_folder",
    "require_sound",
    "require_tracking_inputs",
    "run_subject",
    "subject_label",
    "summarise_run",
    "tissue_subject",
    "track_subject",
    "use_threads",
    "wants_preprocessing",
    "weigh_subject",
    "weigh_tractogram",
    "with_tissue",
]
