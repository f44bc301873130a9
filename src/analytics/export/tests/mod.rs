//! Is every event in the lake once, whatever breaks off, fails, or interferes?

mod crash;
mod faults;
mod files;
mod fixture;
mod following;
mod stores;
