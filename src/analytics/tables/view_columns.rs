//! How do the columns of a view look in a query, and which of its conditions does the view answer by itself?

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanBuilder;
use datafusion::arrow::array::Date32Builder;
use datafusion::arrow::array::Decimal128Builder;
use datafusion::arrow::array::Float64Builder;
use datafusion::arrow::array::Int32Builder;
use datafusion::arrow::array::Int64Builder;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::array::StringViewBuilder;
use datafusion::arrow::array::TimestampMicrosecondBuilder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::logical_expr::BinaryExpr;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::expr::InList;
use datafusion::scalar::ScalarValue;
use rust_decimal::Decimal;

use super::super::columns::timestamp;
use crate::projection::Column;
use crate::projection::ColumnType;
use crate::projection::Columns;
use crate::projection::Comparison;
use crate::projection::Row;
use crate::projection::Test;
use crate::projection::Value;

/// The columns as a query sees them.
pub(super) fn schema(columns: &Columns) -> SchemaRef {
    let field = |(place, column): (usize, &Column)| Field::new(&column.name, data_type(column.column_type), place != columns.primary_key());
    Arc::new(Schema::new(columns.list().iter().enumerate().map(|(place, column)| field((place, column))).collect::<Vec<Field>>()))
}

fn data_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Text | ColumnType::Uuid | ColumnType::Json => DataType::Utf8View,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Integer => DataType::Int32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(narrow(precision), i8::try_from(scale).unwrap_or(i8::MAX)),
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Timestamp => timestamp(),
        ColumnType::Date => DataType::Date32,
    }
}

/// Both are 28 at most.
fn narrow(digits: u32) -> u8 {
    u8::try_from(digits).unwrap_or(u8::MAX)
}

/// What a condition asks of one column, if the view can tell.
pub(super) fn comparison(condition: &Expr, columns: &Columns) -> Option<Comparison> {
    let of = |expr: &Expr| match expr {
        Expr::Column(column) => columns.place(&column.name).and_then(|place| Some((place, columns.list().get(place)?))),
        _ => None,
    };
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (place, column, op, value) = match (of(left), of(right)) {
                (Some((place, column)), None) => (place, column, *op, literal(right)?),
                (None, Some((place, column))) => (place, column, op.swap()?, literal(left)?),
                _ => return None,
            };
            let is_ordered = column.column_type != ColumnType::Uuid && column.column_type != ColumnType::Boolean;
            let value = value_of(value, column.column_type)?;
            let test = match op {
                Operator::Eq => Test::Equal(value),
                Operator::NotEq => Test::NotEqual(value),
                Operator::Gt if is_ordered => Test::Greater(value),
                Operator::GtEq if is_ordered => Test::GreaterOrEqual(value),
                Operator::Lt if is_ordered => Test::Less(value),
                Operator::LtEq if is_ordered => Test::LessOrEqual(value),
                _ => return None,
            };
            Some(Comparison { place, test })
        }
        Expr::InList(InList { expr, list, negated: false }) if list.len() <= VALUES_MAX => {
            let (place, column) = of(expr)?;
            let values: Option<Vec<Value>> = list.iter().map(|value| value_of(literal(value)?, column.column_type)).collect();
            Some(Comparison { place, test: Test::In(values?) })
        }
        Expr::IsNull(expr) => Some(Comparison { place: of(expr)?.0, test: Test::IsNull(true) }),
        Expr::IsNotNull(expr) => Some(Comparison { place: of(expr)?.0, test: Test::IsNull(false) }),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

/// The same value in the view. Doubles are left to the query, for which -0.0 and 0.0 are equal, and JSON, which has no order.
fn value_of(value: &ScalarValue, column_type: ColumnType) -> Option<Value> {
    let text = match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => text.as_deref(),
        _ => None,
    };
    match (value, column_type) {
        (_, ColumnType::Text) => Some(Value::Text(text?.into())),
        (_, ColumnType::Uuid) => {
            let id = uuid::Uuid::try_parse(text?).ok()?;
            // Written otherwise it is not equal, and no uuid can say so.
            (id.hyphenated().encode_lower(&mut [0; 36]) == text?).then(|| Value::Uuid(id.into_bytes()))
        }
        (ScalarValue::Int64(number), ColumnType::Bigint) => number.map(Value::Integer),
        (ScalarValue::Int32(number), ColumnType::Integer) => number.map(|number| Value::Integer(i64::from(number))),
        (ScalarValue::Boolean(boolean), ColumnType::Boolean) => boolean.map(Value::Boolean),
        (ScalarValue::TimestampMicrosecond(micros, _), ColumnType::Timestamp) => micros.map(Value::Timestamp),
        (ScalarValue::Date32(days), ColumnType::Date) => days.map(Value::Date),
        (ScalarValue::Decimal128(Some(mantissa), _, own), ColumnType::Decimal { scale, .. }) if i64::from(*own) == i64::from(scale) => {
            Decimal::try_from_i128_with_scale(*mantissa, scale).ok().map(Value::Decimal)
        }
        _ => None,
    }
}

/// Gathers rows as columns.
pub(super) struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<(usize, Builder)>,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
}

impl RowBuilder {
    /// For these columns, so many rows at a time.
    pub(super) fn new(schema: SchemaRef, columns: &Columns, places: &[usize], batch_rows: usize) -> Self {
        let builder = |place: &usize| Some((*place, Builder::new(columns.list().get(*place)?.column_type)));
        Self { schema, columns: places.iter().filter_map(builder).collect(), batch_rows, rows: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, row: &Row) {
        for (place, builder) in &mut self.columns {
            builder.push(row.values.get(*place).unwrap_or(&Value::Null));
        }
        self.rows += 1;
        self.bytes += row.bytes();
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// A column that grows. A value that is not of its type is null.
enum Builder {
    Text(StringViewBuilder),
    Bigint(Int64Builder),
    Integer(Int32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u32, u8),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
}

impl Builder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Text | ColumnType::Uuid | ColumnType::Json => Self::Text(StringViewBuilder::new()),
            ColumnType::Bigint => Self::Bigint(Int64Builder::new()),
            ColumnType::Integer => Self::Integer(Int32Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Decimal { precision, scale } => Self::Decimal(Decimal128Builder::new(), scale, narrow(precision)),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(timestamp())),
            ColumnType::Date => Self::Date(Date32Builder::new()),
        }
    }

    fn push(&mut self, value: &Value) {
        match (self, value) {
            (Self::Text(builder), Value::Text(text) | Value::Json(text)) => builder.append_value(text),
            (Self::Text(builder), Value::Uuid(id)) => {
                builder.append_value(uuid::Uuid::from_bytes(*id).hyphenated().encode_lower(&mut [0; 36]));
            }
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Bigint(builder), Value::Integer(number)) => builder.append_value(*number),
            (Self::Bigint(builder), _) => builder.append_null(),
            (Self::Integer(builder), Value::Integer(number)) => builder.append_option(i32::try_from(*number).ok()),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Double(builder), Value::Double(number)) => builder.append_value(*number),
            (Self::Double(builder), _) => builder.append_null(),
            (Self::Decimal(builder, scale, _), Value::Decimal(number)) => {
                let mut number = *number;
                number.rescale(*scale);
                builder.append_value(number.mantissa());
            }
            (Self::Decimal(builder, ..), _) => builder.append_null(),
            (Self::Boolean(builder), Value::Boolean(boolean)) => builder.append_value(*boolean),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Timestamp(builder), Value::Timestamp(micros)) => builder.append_value(*micros),
            (Self::Timestamp(builder), _) => builder.append_null(),
            (Self::Date(builder), Value::Date(days)) => builder.append_value(*days),
            (Self::Date(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bigint(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, scale, precision) => {
                let scale = i8::try_from(*scale).unwrap_or(i8::MAX);
                Arc::new(builder.finish().with_precision_and_scale(*precision, scale)?)
            }
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
        })
    }
}

const BATCH_BYTES: usize = 4 << 20;
/// More values are compared by the query itself.
const VALUES_MAX: usize = 1_000;
