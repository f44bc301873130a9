//! What is a target that this server can't reach for at all? One that says so, so that its projection is seen to stand still, and why.

use futures::future::BoxFuture;

use super::Fault;
use super::Generation;
use super::Opening;
use super::Parked;
use super::Target;
use super::Writer;
use crate::projection::row::Row;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

/// Of a definition that was accepted when the server had what it lacks now, such as a variable of its environment.
pub(crate) struct AbsentTarget {
    pub(crate) described: String,
    /// Why it can't be reached for.
    pub(crate) reason: String,
}

impl AbsentTarget {
    fn fault<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, Fault>> {
        Box::pin(async { Err(Fault::Lasting(self.reason.clone())) })
    }
}

impl Target for AbsentTarget {
    fn described(&self) -> String {
        self.described.clone()
    }

    fn generations(&self) -> BoxFuture<'_, Result<Vec<Generation>, Fault>> {
        self.fault()
    }

    fn open(&self, _opening: Opening) -> BoxFuture<'_, Result<Box<dyn Writer>, Fault>> {
        self.fault()
    }

    fn promote(&self, _hash: [u8; 16]) -> BoxFuture<'_, Result<(), Fault>> {
        self.fault()
    }

    fn drop_generation(&self, _hash: [u8; 16], _keep_rows: bool) -> BoxFuture<'_, Result<(), Fault>> {
        self.fault()
    }

    fn parked(&self, _hash: [u8; 16], _after: Option<(u16, u64)>, _limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, Fault>> {
        self.fault()
    }

    fn row<'a>(&'a self, _columns: &'a Columns, _key: &'a Value) -> BoxFuture<'a, Result<Option<Row>, Fault>> {
        self.fault()
    }
}
