"""Operations that have no lowering, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

DATA_DEPENDENT = "how large its result is depends on the numbers that go in"
CODE = "it runs Python code, which is not in the file"
COMPLEX = "it works with complex numbers, which TF.js has not on all of its backends"
LINEAR_ALGEBRA = "TF.js's graphs have no linear algebra beyond products of matrices"
BITS = "TF.js has no operation on the bits of integers on all of its backends"
SCATTER = "it writes to places that are known at run time, for which TF.js has no operation on all of its backends"
SAMPLING = "it takes pixels from places that are known at run time"
DIVISORS = "it takes as many steps as the numbers that go in ask for"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("Nonzero", "Unique", "Bincount", "Arange"), DATA_DEPENDENT),
    **dict.fromkeys(("Map", "VectorizedMap", "Scan", "AssociativeScan", "WhileLoop", "ForiLoop", "Cond", "Switch",
                     "JVP", "Function"), CODE),
    **dict.fromkeys(("FFT", "FFT2", "IFFT2", "RFFT", "IRFFT", "STFT", "ISTFT", "ViewAsComplex", "ViewAsReal", "Polar"),
                    COMPLEX),
    **dict.fromkeys(("Cholesky", "CholeskyInverse", "Det", "Eig", "Eigh", "Inv", "Lstsq", "LuFactor", "MatrixRank",
                     "Pinv", "Qr", "SVD", "Solve", "SolveTriangular", "Logdet", "Slogdet"), LINEAR_ALGEBRA),
    **dict.fromkeys(("BitwiseLeftShift", "BitwiseRightShift", "LeftShift", "RightShift", "Nextafter"), BITS),
    **dict.fromkeys(("Scatter", "ScatterUpdate"), SCATTER),
    **dict.fromkeys(("AffineTransform", "PerspectiveTransform", "ElasticTransform", "MapCoordinates"), SAMPLING),
    **dict.fromkeys(("Gcd", "Lcm"), DIVISORS),
    **dict.fromkeys(("CTCLoss", "CTCDecode"), "it searches through all readings of a sequence"),
    **dict.fromkeys(("Nanmedian", "Nanquantile", "Nanpercentile"),
                    "which numbers it lies between depends on how many of them there are at run time"),
    "Gammainc": "TF.js has no incomplete gamma function",
    "Argpartition": "it leaves the order of its result open, so that no other program makes the same",
    "Histogram": "where its bins begin and end is a matter of rounding, in which TF.js and Keras differ",
    "SobelEdges": "at the borders of the image Keras on TensorFlow mirrors pixels, and on JAX it adds zeros",
    "SegmentReduction": "it is the base of other operations and computes nothing",
    "TensorFlowOpLayer": "it holds a node of TensorFlow 2.3 or older; save the model with a newer TensorFlow",
    "ClassMethod": "it calls a method of a TensorFlow class",
    "InstanceMethod": "it calls a method of a TensorFlow object",
    "InstanceProperty": "it reads a property of a TensorFlow object",
}  # fmt: skip
"""Class of an operation → why it has no lowering."""
