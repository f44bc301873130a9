//! Which positions belong to a stream, a category, a type, a tag, an id, without reading the log?
//!
//! Derived from the log and rebuilt from it whenever in doubt. Commits touch only the delta in memory; the background
//! flushes the delta to redb in large sorted transactions. A read looks in the delta first, then in redb.
