//! Does the engine keep its promises when the disk does not?
//!
//! Each test bears the id of the fault that it tries. What a test needs of chance comes from a seed, which it prints when it
//! fails; `SEED=<n>` runs that seed alone.

mod model;
mod script;
mod world;

mod against_model;
mod crash;
mod damage;
mod faults;
mod golden;
mod hostile;
mod index;
mod oracle;
mod plants;
mod replay;
mod trim;
