//! The keys that need a restart: those of sockets, files, threads and queues.
//!
//! At a reload they keep their value, and the log names those that have changed in the file.

use crate::config::Config;

/// Restores the settings that need a restart; returns the names of those that had changed.
pub(super) fn keep_restart_only(new: &mut Config, old: &Config) -> Vec<&'static str> {
    fn put_back<T: Clone + PartialEq>(new: &mut T, old: &T, name: &'static str) -> Option<&'static str> {
        let changed = new != old;
        new.clone_from(old);
        changed.then_some(name)
    }
    let changed_names = [
        put_back(&mut new.listen, &old.listen, "listen"),
        put_back(&mut new.advertise, &old.advertise, "advertise"),
        put_back(&mut new.workers, &old.workers, "workers"),
        put_back(&mut new.location, &old.location, "location"),
        put_back(&mut new.cluster, &old.cluster, "cluster"),
        put_back(&mut new.limits, &old.limits, "limits"),
        put_back(&mut new.metrics, &old.metrics, "metrics"),
        put_back(&mut new.calls.file, &old.calls.file, "calls.file"),
        put_back(&mut new.calls.rotate, &old.calls.rotate, "calls.rotate"),
        put_back(&mut new.log.format, &old.log.format, "log.format"),
    ];
    changed_names.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn keys_that_need_a_restart_are_named_and_keep_their_value() {
        let old = Config::default();
        let text = "workers: 3\nlocation: { store: memory }\nlog: { level: debug, format: json }\nstrangers: accept\n";
        let mut new: Config = serde_yaml::from_str(text).expect("a configuration");
        assert_eq!(keep_restart_only(&mut new, &old), ["workers", "location", "log.format"]);
        assert_eq!((new.workers, &new.location), (old.workers, &old.location));
        assert_eq!(new.log.level, config::Level::Debug);
        assert_ne!(new.strangers, old.strangers);
    }
}
