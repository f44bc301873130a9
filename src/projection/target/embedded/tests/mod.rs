//! Does the embedded target keep what it promises?
