//! Parsers of what users write as values of flags. Each is a function of its text alone, or says
//! what else it looks at; each error is what follows `invalid argument …:`.

pub mod device;
pub mod duration;
pub mod environment;
pub mod keys;
pub mod mount;
pub mod names;
pub mod number;
pub mod publish;
pub mod size;
pub mod time;
pub mod ulimit;
pub mod volume;
