//! Names of Python that a pickle of tensors may contain.
//!
//! The list follows `torch.load(weights_only=True)` of PyTorch 2.15 (`torch/_weights_only_unpickler.py`). Nothing here is
//! called: a name only decides what its arguments mean.

use candle_core::DType;

/// What an accepted name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// `OrderedDict` and `Counter`: dictionaries.
    Dict,
    /// `torch.Size`: a tuple.
    Tuple,
    /// `Parameter` and the functions whose first argument is the tensor.
    FirstArgument,
    /// `_rebuild_tensor` and `_rebuild_tensor_v2`: storage, offset, size, stride.
    Tensor,
    /// `_rebuild_tensor_v3`: as [`Name::Tensor`], with the element type as the seventh argument.
    TypedTensor,
    /// `_rebuild_from_type_v2`: another function and its arguments.
    Wrapped,
    /// Element type of a tensor or of a storage.
    Element(Element),
    /// Anything else that is accepted, and has no use here.
    Other,
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// One that is read.
    Readable(DType),
    /// Bytes, whose type the tensor states (`torch.UntypedStorage`).
    Untyped,
    /// One that is accepted beside the network, and its size in bytes.
    Unreadable(&'static str, usize),
}

impl Element {
    /// Returns the size of one value in bytes.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Readable(dtype) => dtype.size_in_bytes(),
            Self::Untyped => 1,
            Self::Unreadable(_, width) => width,
        }
    }
}

/// Element types by the names of their dtypes.
const DTYPES: [(&str, Element); 36] = [
    ("float32", Element::Readable(DType::F32)),
    ("float64", Element::Readable(DType::F64)),
    ("float16", Element::Readable(DType::F16)),
    ("bfloat16", Element::Readable(DType::BF16)),
    ("int64", Element::Readable(DType::I64)),
    ("int32", Element::Readable(DType::I32)),
    ("int16", Element::Readable(DType::I16)),
    ("uint8", Element::Readable(DType::U8)),
    ("bool", Element::Readable(DType::U8)),
    ("int8", Element::Unreadable("int8", 1)),
    ("uint16", Element::Unreadable("uint16", 2)),
    ("uint32", Element::Unreadable("uint32", 4)),
    ("uint64", Element::Unreadable("uint64", 8)),
    ("complex32", Element::Unreadable("complex32", 4)),
    ("bcomplex32", Element::Unreadable("bcomplex32", 4)),
    ("complex64", Element::Unreadable("complex64", 8)),
    ("complex128", Element::Unreadable("complex128", 16)),
    ("float8_e4m3fn", Element::Unreadable("float8_e4m3fn", 1)),
    ("float8_e4m3fnuz", Element::Unreadable("float8_e4m3fnuz", 1)),
    ("float8_e5m2", Element::Unreadable("float8_e5m2", 1)),
    ("float8_e5m2fnuz", Element::Unreadable("float8_e5m2fnuz", 1)),
    ("float8_e8m0fnu", Element::Unreadable("float8_e8m0fnu", 1)),
    ("float4_e2m1fn_x2", Element::Unreadable("float4_e2m1fn_x2", 1)),
    ("qint8", Element::Unreadable("qint8", 1)),
    ("quint8", Element::Unreadable("quint8", 1)),
    ("qint32", Element::Unreadable("qint32", 4)),
    ("quint4x2", Element::Unreadable("quint4x2", 1)),
    ("quint2x4", Element::Unreadable("quint2x4", 1)),
    ("bits8", Element::Unreadable("bits8", 1)),
    ("bits16", Element::Unreadable("bits16", 2)),
    ("bits1x8", Element::Unreadable("bits1x8", 1)),
    ("bits2x4", Element::Unreadable("bits2x4", 1)),
    ("bits4x2", Element::Unreadable("bits4x2", 1)),
    ("int4", Element::Unreadable("int4", 1)),
    ("uint4", Element::Unreadable("uint4", 1)),
    ("int2", Element::Unreadable("int2", 1)),
];

/// Typed storages and the dtypes of their values.
const STORAGES: [(&str, &str); 17] = [
    ("FloatStorage", "float32"),
    ("DoubleStorage", "float64"),
    ("HalfStorage", "float16"),
    ("BFloat16Storage", "bfloat16"),
    ("LongStorage", "int64"),
    ("IntStorage", "int32"),
    ("ShortStorage", "int16"),
    ("CharStorage", "int8"),
    ("ByteStorage", "uint8"),
    ("BoolStorage", "bool"),
    ("ComplexFloatStorage", "complex64"),
    ("ComplexDoubleStorage", "complex128"),
    ("QInt8Storage", "qint8"),
    ("QUInt8Storage", "quint8"),
    ("QInt32Storage", "qint32"),
    ("QUInt4x2Storage", "quint4x2"),
    ("QUInt2x4Storage", "quint2x4"),
];

/// Classes of tensors by element type, which `torch`, `torch.cuda` and their sparse modules have.
const TENSORS: [&str; 10] = [
    "FloatTensor",
    "DoubleTensor",
    "HalfTensor",
    "BFloat16Tensor",
    "LongTensor",
    "IntTensor",
    "ShortTensor",
    "CharTensor",
    "ByteTensor",
    "BoolTensor",
];

/// Integers narrower than a byte, which have a dtype and no storage of their own.
const NARROW: [&str; 11] =
    ["int1", "int3", "int5", "int6", "int7", "uint1", "uint2", "uint3", "uint5", "uint6", "uint7"];

/// Returns what `module.name` stands for; `None` if `torch.load(weights_only=True)` rejects it.
pub(super) fn accepted(module: &str, name: &str) -> Option<Name> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "Counter") => Name::Dict,
        ("torch", "Size") => Name::Tuple,
        ("torch.nn.parameter", "Parameter")
        | (
            "torch._utils",
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor",
        ) => Name::FirstArgument,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Name::TypedTensor,
        ("torch._tensor", "_rebuild_from_type_v2") => Name::Wrapped,
        ("torch.storage", "UntypedStorage") => Name::Element(Element::Untyped),
        ("torch" | "torch.cuda", name) if storage(name).is_some() => Name::Element(storage(name)?),
        ("torch", name) if dtype(name).is_some() => Name::Element(dtype(name)?),
        ("torch" | "torch.cuda" | "torch.sparse" | "torch.cuda.sparse", name) if TENSORS.contains(&name) => Name::Other,
        ("torch", name) if NARROW.contains(&name) => Name::Other,
        ("_codecs", "encode")
        | ("builtins" | "__builtin__", "bytearray" | "set" | "complex")
        | (
            "torch",
            "Tensor"
            | "device"
            | "per_tensor_affine"
            | "per_tensor_symmetric"
            | "per_channel_affine"
            | "per_channel_symmetric"
            | "per_channel_affine_float_qparams",
        )
        | ("torch.serialization", "_get_layout")
        | ("torch.storage", "TypedStorage")
        | (
            "torch._utils",
            "_rebuild_qtensor"
            | "_rebuild_sparse_tensor"
            | "_rebuild_meta_tensor_no_storage"
            | "_rebuild_wrapper_subclass"
            | "_rebuild_device_tensor_from_numpy",
        ) => Name::Other,
        _ => return None,
    })
}

fn storage(name: &str) -> Option<Element> {
    STORAGES.iter().find(|(storage, _)| *storage == name).and_then(|(_, name)| dtype(name))
}

fn dtype(name: &str) -> Option<Element> {
    DTYPES.iter().find(|(dtype, _)| *dtype == name).map(|(_, element)| *element)
}
