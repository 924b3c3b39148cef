"""Ops that have no meaning in the IR, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

RANDOM = "it draws random numbers, so no two runs of the model return the same"
DATA_DEPENDENT = "the size of its result depends on the values of its input"
STRINGS = "this operation on strings is not supported"
SPARSE = "sparse tensors are not supported"
RAGGED = "ragged tensors are not supported"
COMPLEX = "complex tensors are not supported"
LINEAR_ALGEBRA = "converted models support no linear algebra except matrix products"
LOOP = "the control flow of TensorFlow 1 is not supported"
LIST = "lists of tensors are supported only in the loops of recurrent layers"
CODE = "it runs code that the graph does not contain"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("RandomUniform", "RandomUniformInt", "RandomStandardNormal",
                     "TruncatedNormal", "Multinomial", "RandomShuffle", "RandomGamma",
                     "StatelessRandomUniform", "StatelessRandomUniformV2",
                     "StatelessRandomNormal", "StatelessRandomNormalV2",
                     "StatelessTruncatedNormal", "StatelessTruncatedNormalV2",
                     "StatelessRandomUniformInt", "StatelessRandomUniformIntV2",
                     "StatelessMultinomial", "StatelessRandomGetKeyCounter",
                     "StatelessRandomGetKeyCounterAlg", "StatelessRandomGetAlg"), RANDOM),
    **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2",
                     "Bincount", "DenseBincount",
                     "DynamicPartition", "SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin",
                     "SegmentProd"), DATA_DEPENDENT),
    **dict.fromkeys(("StringNGrams", "StringSplit", "StringSplitV2", "StringToHashBucketFast",
                     "StringToHashBucket", "StringToHashBucketStrong", "StaticRegexReplace",
                     "RegexReplace", "StringLower", "StringUpper", "StringJoin", "StringStrip",
                     "Substr", "AsString", "StringToNumber", "StringLength", "DecodeRaw",
                     "DecodeBase64", "EncodeBase64", "UnicodeDecode", "UnicodeDecodeWithOffsets",
                     "UnicodeEncode", "UnicodeTranscode", "StaticRegexFullMatch",
                     "RegexFullMatch"), STRINGS),
    **dict.fromkeys(("SparseToDense", "SparseFillEmptyRows", "SparseReshape",
                     "SparseSegmentMean", "SparseSegmentSum", "SparseSegmentSqrtN",
                     "SparseTensorDenseMatMul", "ParseExample", "ParseExampleV2",
                     "ParseSingleExample"), SPARSE),
    **dict.fromkeys(("RaggedGather", "RaggedRange", "RaggedTensorToTensor",
                     "RaggedTensorToVariant", "RaggedTensorFromVariant",
                     "RaggedTensorToSparse"), RAGGED),
    **dict.fromkeys(("FFT", "IFFT", "RFFT", "IRFFT", "FFT2D", "IFFT2D", "RFFT2D", "IRFFT2D",
                     "Complex", "ComplexAbs", "Real", "Imag", "Conj", "Angle"), COMPLEX),
    **dict.fromkeys(("Cholesky", "MatrixInverse", "MatrixSolve", "MatrixTriangularSolve", "Qr",
                     "Svd", "SelfAdjointEigV2", "LogMatrixDeterminant"), LINEAR_ALGEBRA),
    **dict.fromkeys(("Enter", "Exit", "Switch", "Merge", "NextIteration", "LoopCond",
                     "TensorArrayV3", "TensorArrayWriteV3", "TensorArrayReadV3",
                     "TensorArrayGatherV3", "TensorArrayScatterV3", "TensorArrayConcatV3",
                     "TensorArraySplitV3", "TensorArraySizeV3", "TensorArrayCloseV3"), LOOP),
    **dict.fromkeys(("EmptyTensorList", "TensorListScatter", "TensorListScatterV2",
                     "TensorListGather", "TensorListSplit", "TensorListConcat",
                     "TensorListConcatV2", "TensorListPopBack", "TensorListPushBack",
                     "TensorListLength", "TensorListResize"), LIST),
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaCallModule",
                     "SymbolicGradient", "RemoteCall"), CODE),
    "ImageProjectiveTransformV3":
        "it reads pixels from positions that are known only when the model runs",
    "MaxPoolWithArgmax": "converted models cannot return the positions of the maximums",
    "DecodeJpeg": "converted models cannot decode image files",
    "DecodePng": "converted models cannot decode image files",
    "DecodeImage": "converted models cannot decode image files",
    **dict.fromkeys(("MutableHashTableV2", "MutableDenseHashTableV2"),
                    "its content changes while the model runs"),
}  # fmt: skip
"""Name of an op → the reason why it is not supported."""

REMEDIES: Mapping[str, str] = {
    RANDOM: "export the model for inference, so that it contains no random numbers",
    STRINGS: "export a model that takes numbers, and prepare strings before it",
    "its content changes while the model runs": "export the model with a static hash table",
    LOOP: "export the model with TensorFlow 2",
}
"""Reason → what to do about it."""

NO_ROW = "this TensorFlow op is not supported"
REMEDY = "export a model without it"


def reason_of(op: str) -> tuple[str, str]:
    """Why an op is not supported, and what to do about it."""
    reason = REFUSED.get(op, NO_ROW)
    return reason, REMEDIES.get(reason, REMEDY)
