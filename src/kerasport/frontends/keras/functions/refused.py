"""Operations that are not supported, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

DATA_DEPENDENT = "the size of its result depends on the values of the input"
CODE = "it runs Python code, which the file does not contain"
COMPLEX = "it returns or takes complex tensors, which converted models do not support"
LINEAR_ALGEBRA = "converted models support no linear algebra except matrix products"
BITS = "converted models do not support this operation on the bits of floats"
SAMPLING = (
    "it reads pixels from positions that are known only when the model runs, which is not supported"
)
DIVISORS = "its number of steps depends on the values of the input"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("Nonzero", "Unique", "Bincount", "Arange"), DATA_DEPENDENT),
    **dict.fromkeys(("Map", "VectorizedMap", "Scan", "AssociativeScan", "WhileLoop", "ForiLoop",
                     "Cond", "Switch", "JVP", "Function"), CODE),
    **dict.fromkeys(("ViewAsComplex", "ViewAsReal", "Polar"), COMPLEX),
    **dict.fromkeys(("Cholesky", "CholeskyInverse", "Eig", "Eigh", "Inv", "Lstsq", "LuFactor",
                     "MatrixRank", "Pinv", "Qr", "SVD", "Solve", "SolveTriangular", "Logdet",
                     "Slogdet"), LINEAR_ALGEBRA),
    "Nextafter": BITS,
    **dict.fromkeys(("AffineTransform", "PerspectiveTransform", "ElasticTransform",
                     "MapCoordinates"), SAMPLING),
    **dict.fromkeys(("Gcd", "Lcm"), DIVISORS),
    **dict.fromkeys(("CTCLoss", "CTCDecode"),
                    "it searches all alignments of a sequence, which is not supported"),
    **dict.fromkeys(("Nanmedian", "Nanquantile", "Nanpercentile"),
                    "which values it interpolates depends on the number of NaNs in the input"),
    "Gammainc": "converted models have no incomplete gamma function",
    "Argpartition":
        "it does not define the order of its result, so the result depends on the runtime",
    "Histogram": "its bin edges depend on rounding, which differs between Keras and other runtimes",
    "SobelEdges": "at the image borders, Keras mirrors pixels on TensorFlow but adds zeros on JAX",
    "SegmentReduction": "it is a base class of other operations and computes nothing",
    "TensorFlowOpLayer":
        "it contains a node of TensorFlow 2.3 or older; save the model with a newer TensorFlow",
    "ClassMethod": "it calls a method of a TensorFlow class",
    "InstanceMethod": "it calls a method of a TensorFlow object",
    "InstanceProperty": "it reads a property of a TensorFlow object",
}  # fmt: skip
"""Class of an operation → the reason why it is not supported."""
