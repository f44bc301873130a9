//! How do events become columns in memory, at the cost of the columns that are wanted?

mod builder;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::columns::CategoryColumns;
use super::columns::timestamp;
use crate::subscription::Event;
use builder::Builder;
use slots::Slots;

/// A column of a table of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    /// One that every event has.
    Envelope(EnvelopeColumn),
    /// A member of the data: its place among the fields of the category.
    Member(usize),
}

/// What every event has, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EnvelopeColumn {
    Position,
    Shard,
    RecordedAt,
    OccurredAt,
    Stream,
    Version,
    Category,
    Type,
    SchemaVersion,
    Id,
    Tags,
    Data,
    Metadata,
}

impl EnvelopeColumn {
    pub(crate) const ALL: [Self; 13] = [
        Self::Position,
        Self::Shard,
        Self::RecordedAt,
        Self::OccurredAt,
        Self::Stream,
        Self::Version,
        Self::Category,
        Self::Type,
        Self::SchemaVersion,
        Self::Id,
        Self::Tags,
        Self::Data,
        Self::Metadata,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Shard => "shard",
            Self::RecordedAt => "recorded_at",
            Self::OccurredAt => "occurred_at",
            Self::Stream => "stream",
            Self::Version => "version",
            Self::Category => "category",
            Self::Type => "type",
            Self::SchemaVersion => "schema_version",
            Self::Id => "id",
            Self::Tags => "tags",
            Self::Data => "data",
            Self::Metadata => "metadata",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    pub(crate) fn field(self) -> Field {
        let data_type = match self {
            Self::Position | Self::Version => DataType::Int64,
            Self::Shard | Self::SchemaVersion => DataType::Int32,
            Self::RecordedAt | Self::OccurredAt => timestamp(),
            Self::Stream | Self::Category | Self::Type | Self::Id | Self::Data | Self::Metadata => DataType::Utf8View,
            Self::Tags => DataType::new_list(DataType::Utf8, true),
        };
        Field::new(self.name(), data_type, matches!(self, Self::Data | Self::Metadata))
    }
}

/// All columns of a table of events: what every event has, then the typed columns of the category, if it is of one.
pub(crate) fn table_columns(columns: Option<&CategoryColumns>) -> Vec<Wanted> {
    let members = (0..columns.map_or(0, |columns| columns.fields().len())).map(Wanted::Member);
    EnvelopeColumn::ALL.into_iter().map(Wanted::Envelope).chain(members).collect()
}

/// How these columns lie in memory. Places beyond the category's fields are left out.
pub(crate) fn schema(wanted: &[Wanted], columns: &CategoryColumns) -> SchemaRef {
    let field = |wanted: &Wanted| match wanted {
        Wanted::Envelope(column) => Some(column.field()),
        Wanted::Member(place) => {
            let field = columns.fields().get(*place)?;
            Some(Field::new(&field.column, field.field_type().data_type(), true))
        }
    };
    Arc::new(Schema::new(wanted.iter().filter_map(field).collect::<Vec<Field>>()))
}

/// Gathers events as columns. Data is parsed only if a member of it is wanted, and only those members are.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    builders: Vec<Builder>,
    slots: Slots,
    rows: usize,
    bytes: usize,
}

impl BatchBuilder {
    /// For so many events at a time.
    pub(crate) fn new(wanted: &[Wanted], columns: &CategoryColumns, capacity: usize) -> Self {
        let members: Vec<&str> = wanted
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Member(place) => columns.fields().get(*place).map(|field| field.member.as_str()),
                Wanted::Envelope(_) => None,
            })
            .collect();
        let mut next_slot = 0..;
        let builders = wanted.iter().filter_map(|wanted| match wanted {
            Wanted::Envelope(column) => Some(Builder::of_envelope(*column, capacity)),
            Wanted::Member(place) => {
                let field = columns.fields().get(*place)?;
                Some(Builder::of_member(next_slot.next()?, field.field_type(), capacity))
            }
        });
        Self { schema: schema(wanted, columns), builders: builders.collect(), slots: Slots::new(&members), rows: 0, bytes: 0 }
    }

    /// Adds an event. A value that its column can't hold is null.
    pub(crate) fn push(&mut self, event: &Event) {
        let data = self.slots.read(event.record.data());
        for builder in &mut self.builders {
            builder.push(event, &data);
        }
        self.rows += 1;
        self.bytes += event.record.stored_bytes();
    }

    /// Adds an event of which only the data is at hand: for columns that are all members of it.
    pub(crate) fn push_data(&mut self, data: &[u8]) {
        let found = self.slots.read(data);
        for builder in &mut self.builders {
            builder.push_member(&found);
        }
        self.rows += 1;
        self.bytes += data.len();
    }

    /// How many events have been added since the last batch.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// What these take in the log: about the most that they take here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events added since the last batch.
    ///
    /// # Errors
    ///
    /// None but for a bug: the columns are made for this schema.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}
