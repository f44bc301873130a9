//! `a || b || c`, as a function whose result can be told beforehand.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::StringViewBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ReturnFieldArgs;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::scalar::ScalarValue;

use super::growth::Growth;

/// Texts put together; null if one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Concatenation {
    signature: Signature,
}

impl Concatenation {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &'static str {
        "||"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    /// What is put together of texts that are never null is never null: that is what the operator says, too.
    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let may_be_null = call.arg_fields.iter().any(|argument| argument.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, may_be_null)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Utf8View; arguments.len()])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Growth::Joined.check(&call)?;
        let are_scalars = call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let joined = joined(&arrays);
        if are_scalars { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)) } else { Ok(ColumnarValue::Array(joined)) }
    }
}

fn joined(arrays: &[ArrayRef]) -> ArrayRef {
    let texts: Vec<_> = arrays.iter().map(|array| array.as_string_view()).collect();
    let rows = texts.first().map_or(0, |texts| texts.iter().len());
    let mut builder = StringViewBuilder::with_capacity(rows);
    let mut whole = String::new();
    let mut texts: Vec<_> = texts.iter().map(|texts| texts.iter()).collect();
    for _row in 0..rows {
        whole.clear();
        // All of them are asked, so that they stay at the same row.
        let is_whole = texts.iter_mut().fold(true, |is_whole, texts| match texts.next().flatten() {
            Some(text) => {
                whole.push_str(text);
                is_whole
            }
            None => false,
        });
        if is_whole { builder.append_value(&whole) } else { builder.append_null() }
    }
    Arc::new(builder.finish())
}
