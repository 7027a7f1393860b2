"""Values that travel between the layers.

Axes: s slice, c coil, r readout, p phase encode, y row, x column, k class. Patient space is
DICOM's LPS in mm. K-space is centred (zero frequency at index ``n // 2``), transforms are
orthonormal, samples are ``complex64``. Every class is frozen and checked when it is built.
"""

from lfmri_node.recon.settings import LesionWeighting as LesionWeighting
from lfmri_node.recon.settings import Method as Method
from lfmri_node.recon.settings import ReconSettings as ReconSettings
from lfmri_node.recon.types.measurement import Bool as Bool
from lfmri_node.recon.types.measurement import CoilMaps as CoilMaps
from lfmri_node.recon.types.measurement import Complex as Complex
from lfmri_node.recon.types.measurement import Convention as Convention
from lfmri_node.recon.types.measurement import DisplayOrder as DisplayOrder
from lfmri_node.recon.types.measurement import Geometry as Geometry
from lfmri_node.recon.types.measurement import KSpace as KSpace
from lfmri_node.recon.types.measurement import RawScan as RawScan
from lfmri_node.recon.types.measurement import Real as Real
from lfmri_node.recon.types.measurement import ScanIdentity as ScanIdentity
from lfmri_node.recon.types.measurement import SequenceInfo as SequenceInfo
from lfmri_node.recon.types.measurement import Vector as Vector
from lfmri_node.recon.types.reconstruction import Figure as Figure
from lfmri_node.recon.types.reconstruction import LesionMap as LesionMap
from lfmri_node.recon.types.reconstruction import Provenance as Provenance
from lfmri_node.recon.types.reconstruction import Quality as Quality
from lfmri_node.recon.types.reconstruction import Reason as Reason
from lfmri_node.recon.types.reconstruction import ReceiveField as ReceiveField
from lfmri_node.recon.types.reconstruction import Reconstruction as Reconstruction
from lfmri_node.recon.types.reconstruction import Verdict as Verdict
