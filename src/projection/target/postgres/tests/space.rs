//! Does it wait for space when Postgres has none?

use std::path::Path;
use std::process::Command;

use super::super::super::Target;
use super::cluster::give_away;
use super::fixture::*;

/// A file system of a few MiB, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(&self, options: &str) -> Result<(), String> {
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0).output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: the server may still be at it.
        drop(Command::new("umount").arg("-l").arg(self.0).status());
    }
}

#[tokio::test]
async fn p2_a_full_disk_is_waited_for() {
    let Some(cluster) = started(&[]) else { return };
    let folder = cluster.folder.path().join("small");
    std::fs::create_dir(&folder).unwrap();
    let disk = SmallDisk(&folder);
    if let Err(reason) = disk.mount("size=8m") {
        eprintln!("SKIPPED: no tmpfs can be mounted: {reason}");
        return;
    }
    give_away(&folder);
    let (target, url) = (target(&cluster), cluster.url());
    drop(open(&target).await);
    sql(&url, &format!("CREATE TABLESPACE small LOCATION '{}'", folder.display())).await;
    sql(&url, "ALTER TABLE declarations SET TABLESPACE small").await;
    let filled = |part: u64| (0..200).map(move |id| put(row(&format!("{part}-{id}"), 1, text(&format!("{part}-{id} ").repeat(200)))));
    let mut writer = target.open(opening(HASH, true)).await.unwrap();
    let mut written = 0;
    let fault = loop {
        assert!(written < 1_000, "the disk is never full");
        match writer.commit(batch(filled(written).collect(), [written + 1, 0])).await {
            Ok(()) => written += 1,
            fault => break passing(fault),
        }
    };
    assert!(fault.contains("53100"), "{fault}");
    disk.mount("remount,size=64m").unwrap();
    let mut writer = open(&target).await;
    assert_eq!(writer.checkpoint(), Some(&cursor([written, 0])));
    writer.commit(batch(filled(written).collect(), [written + 1, 0])).await.unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM declarations").await, [[((written + 1) * 200).to_string()]]);
}
