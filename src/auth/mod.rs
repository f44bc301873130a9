//! Who is this, and what may they do? From a credential to a principal, and from a principal to a yes or no.
//!
//! [`policy`] decides, and knows nothing of tokens, keys or files.

pub mod policy;
