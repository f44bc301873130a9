//! An id as files hold it, 16 bytes, as it is told: text.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::StringViewBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::ReturnFieldArgs;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;

use crate::subscription::event_json::push_uuid;

/// The function. It is not known to queries.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct UuidText {
    signature: Signature,
}

impl UuidText {
    pub(super) fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::FixedSizeBinary(16)], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for UuidText {
    fn name(&self) -> &'static str {
        "uuid_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    /// There is a text where there is an id: the table says so, too.
    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let may_be_null = call.arg_fields.iter().any(|argument| argument.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, may_be_null)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let mut builder = StringViewBuilder::with_capacity(call.number_rows);
        let mut text = Vec::with_capacity(36);
        for array in &arrays {
            let ids = array.as_fixed_size_binary();
            for row in 0..ids.len() {
                match <&[u8; 16]>::try_from(ids.value(row)) {
                    Ok(id) if ids.is_valid(row) => {
                        text.clear();
                        push_uuid(&mut text, id);
                        builder.append_value(std::str::from_utf8(&text).unwrap_or_default());
                    }
                    _ => builder.append_null(),
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
