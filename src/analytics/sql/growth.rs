//! How much may a function make of what it is given?

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ReturnFieldArgs;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::sort_properties::ExprProperties;
use datafusion::logical_expr::sort_properties::SortProperties;
use datafusion::scalar::ScalarValue;

/// A bound of what a function makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// All that it is given, put together.
    Joined,
    /// The first, so many times as the second says.
    Repeated,
    /// As long as the second says.
    Padded,
    /// The first, with the third in every place of the second.
    Replaced,
    /// The first, with the third between all of its letters.
    Rewritten,
    /// The second, as a pattern of times.
    Formatted,
    /// A list of so many as the second says.
    Listed,
    /// The items of a list with the second between them.
    Woven,
    /// Every part of the first is held against every part of the second.
    Compared,
}

impl Growth {
    /// Of a function by its name; `None` if it makes no more than a few times what it is given, or very little.
    pub(super) fn of(function: &str) -> Option<Self> {
        Some(match function {
            "concat" | "concat_ws" | "make_array" | "array_append" | "array_prepend" | "array_concat" | "array_union" | "struct"
            | "named_struct" | "map" | "encode" | "overlay" | "arrays_zip" | "translate" => Self::Joined,
            "repeat" => Self::Repeated,
            "lpad" | "rpad" => Self::Padded,
            "replace" => Self::Replaced,
            "regexp_replace" | "array_replace" | "array_replace_n" | "array_replace_all" => Self::Rewritten,
            "to_char" | "date_format" => Self::Formatted,
            "array_repeat" | "array_resize" => Self::Listed,
            "array_to_string" => Self::Woven,
            "levenshtein" | "array_has_all" | "array_has_any" | "array_except" | "array_intersect" | "array_remove_all" => Self::Compared,
            _ => return None,
        })
    }

    /// Whether a call stays within what one call may make.
    ///
    /// # Errors
    ///
    /// `ResourcesExhausted` if not.
    pub(super) fn check(self, call: &ScalarFunctionArgs) -> Result<()> {
        if self.bytes(call) <= CALL_BYTES_MAX {
            return Ok(());
        }
        Err(DataFusionError::ResourcesExhausted("one call of a function would make too much memory".to_owned()))
    }

    /// About how many bytes a call may make; for comparisons, a measure of the time.
    fn bytes(self, call: &ScalarFunctionArgs) -> usize {
        let rows = call.number_rows;
        let length = |at: usize| call.args.get(at).map_or(Each::One(0), lengths);
        let number = |at: usize| call.args.get(at).map_or(Each::One(0), numbers);
        let sum = |of: &dyn Fn(usize) -> usize| (0..rows.max(1)).fold(0_usize, |sum, row| sum.saturating_add(of(row)));
        let all = || call.args.iter().map(lengths).collect::<Vec<_>>();
        match self {
            Self::Joined => {
                let all = all();
                sum(&|row| all.iter().fold(ITEM_BYTES, |sum, each| sum.saturating_add(each.at(row).saturating_mul(2))))
            }
            Self::Repeated => {
                let (text, times) = (length(0), number(1));
                sum(&|row| text.at(row).saturating_mul(times.at(row)))
            }
            Self::Padded => {
                let width = number(1);
                sum(&|row| width.at(row).saturating_mul(CHARACTER_BYTES))
            }
            Self::Replaced => {
                let (text, from, to) = (length(0), length(1), length(2));
                sum(&|row| (text.at(row) / from.at(row).max(1) + 1).saturating_mul(to.at(row)).saturating_add(text.at(row)))
            }
            Self::Rewritten => {
                let (text, to) = (length(0), length(2));
                sum(&|row| (text.at(row) + 1).saturating_mul(to.at(row) + 1))
            }
            Self::Formatted => {
                let format = length(1);
                sum(&|row| format.at(row).saturating_mul(TIME_BYTES))
            }
            Self::Listed => {
                // `array_repeat` is given the item first, `array_resize` last.
                let (first, times, last) = (length(0), number(1), length(2));
                sum(&|row| times.at(row).saturating_mul(first.at(row).max(last.at(row)).max(ITEM_BYTES)))
            }
            Self::Woven => {
                let (list, between, for_null) = (length(0), length(1), length(2));
                sum(&|row| (list.at(row) + 1).saturating_mul(between.at(row) + for_null.at(row) + 1))
            }
            Self::Compared => {
                let (one, other) = (length(0), length(1));
                sum(&|row| one.at(row).saturating_mul(other.at(row)) / COMPARED_EACH)
            }
        }
    }
}

/// A number for each row, or one for all.
enum Each {
    One(usize),
    Rows(Vec<usize>),
}

impl Each {
    fn at(&self, row: usize) -> usize {
        match self {
            Self::One(number) => *number,
            Self::Rows(numbers) => numbers.get(row).copied().unwrap_or(0),
        }
    }
}

/// How long each value is, in bytes.
fn lengths(value: &ColumnarValue) -> Each {
    match value {
        ColumnarValue::Scalar(scalar) => Each::One(match scalar {
            ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => text.as_ref().map_or(0, String::len),
            other => other.size(),
        }),
        ColumnarValue::Array(array) => Each::Rows(array_lengths(&**array)),
    }
}

fn array_lengths(array: &dyn Array) -> Vec<usize> {
    let size = |length: Option<usize>| length.unwrap_or(0);
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().iter().map(|text| size(text.map(str::len))).collect(),
        DataType::Utf8 => array.as_string::<i32>().iter().map(|text| size(text.map(str::len))).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(|text| size(text.map(str::len))).collect(),
        DataType::BinaryView => array.as_binary_view().iter().map(|bytes| size(bytes.map(<[u8]>::len))).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().map(|bytes| size(bytes.map(<[u8]>::len))).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(|bytes| size(bytes.map(<[u8]>::len))).collect(),
        DataType::List(_) => array.as_list::<i32>().iter().map(|list| list.map_or(0, |list| array_lengths(&*list).iter().sum())).collect(),
        DataType::LargeList(_) => {
            array.as_list::<i64>().iter().map(|list| list.map_or(0, |list| array_lengths(&*list).iter().sum())).collect()
        }
        DataType::Struct(_) => {
            let mut whole = vec![0_usize; array.len()];
            for column in array.as_struct().columns() {
                whole.iter_mut().zip(array_lengths(&**column)).for_each(|(sum, length)| *sum = sum.saturating_add(length));
            }
            whole
        }
        DataType::Map(..) | DataType::Dictionary(..) | DataType::Union(..) => {
            vec![array.get_array_memory_size() / array.len().max(1); array.len()]
        }
        _ => vec![ITEM_BYTES; array.len()],
    }
}

/// The numbers themselves; below zero is nothing.
fn numbers(value: &ColumnarValue) -> Each {
    let count = |number: i64| usize::try_from(number).unwrap_or(0);
    let wide = value.cast_to(&DataType::Int64, None);
    match wide {
        Ok(ColumnarValue::Scalar(ScalarValue::Int64(number))) => Each::One(number.map_or(0, count)),
        Ok(ColumnarValue::Array(array)) => {
            Each::Rows(array.as_primitive_opt::<Int64Type>().into_iter().flatten().map(|number| number.map_or(0, count)).collect())
        }
        Ok(ColumnarValue::Scalar(_)) => Each::One(0),
        // No number that could be told: the largest there may be.
        Err(_) => Each::One(usize::MAX),
    }
}

/// A function that is asked beforehand what it may make.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Guarded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Guarded {
    pub(super) fn new(inner: Arc<ScalarUDF>, growth: Growth) -> Self {
        Self { inner, growth }
    }
}

/// As the function itself, but that it is not replaced by another one while a plan is made simpler.
impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.growth.check(&call)?;
        self.inner.invoke_with_args(call)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// What one call may make of one batch.
const CALL_BYTES_MAX: usize = 64 << 20;
/// What a value takes that is neither text nor list, and a text beside its letters.
const ITEM_BYTES: usize = 16;
const CHARACTER_BYTES: usize = 4;
/// What one letter of a format may become.
const TIME_BYTES: usize = 16;
/// So many comparisons take the time of a byte.
const COMPARED_EACH: usize = 16;
