//! The limit of open files. Every connection is one, and the usual soft limit of 1,024 is for programs that call
//! `select`; the hard limit is what the operator meant.

use std::io;

/// Raises the soft limit to the hard one, and logs what is in force.
pub fn raise() {
    match raised() {
        Ok(limit) => log::info!("at most {limit} open files, connections included"),
        Err(error) => log::warn!("the limit of open files stays as it is: {error}"),
    }
}

fn raised() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = super::raised().unwrap();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, soft), (limit, hard));
    }
}
