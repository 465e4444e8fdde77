//! Why a transaction can't go on.

use super::errors::Failure;
use crate::{
    model::error::{Code, Error},
    store::contract::Fault,
};

pub enum Stop {
    Sql(Failure),
    Refused(Error),
    /// The descriptors were lost during the commit: the flush may have been another file's.
    Unflushed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Sql(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl Stop {
    pub fn fault(self, path: &str) -> Fault {
        match self {
            Stop::Refused(error) => Fault::Failed(error),
            Stop::Sql(failure) => failure.fault(path),
            Stop::Unflushed => {
                let text = format!("{path}: something in this process closed the store's descriptors during a commit");
                Fault::Unknown(Error::new(Code::Io, text))
            }
        }
    }
}
