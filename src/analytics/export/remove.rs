//! What is taken away with an export, when its files are to go too? What it has put there, and nothing else.

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use super::fault::chain;
use super::lake::FOLDER;
use super::manifest::Manifest;
use super::partition::sequence_of;
use super::place::Place;
use super::session::manifest_path;
use super::session::manifest_sequence;

/// Empties a lake.
///
/// # Errors
///
/// Why files are still there: the store says no, or the lake is another writer's.
pub(super) async fn remove_files(place: &Place, writer: Option<Uuid>) -> Result<(), String> {
    let store = place.store()?;
    let said = |error: object_store::Error| chain(&error);
    let objects: Vec<Path> = store.list(None).map_ok(|object| object.location).try_collect().await.map_err(said)?;
    if let Some(sequence) = objects.iter().filter_map(manifest_sequence).max() {
        let bytes = store.get(&manifest_path(sequence)).await.map_err(said)?.bytes().await.map_err(said)?;
        let manifest = Manifest::decode(&bytes).map_err(|reason| format!("its newest manifest can't be read: {reason}"))?;
        if Some(manifest.writer) != writer {
            return Err("the lake belongs to another writer by now".to_owned());
        }
    }
    let is_own = |path: &&Path| path.as_ref().starts_with(&format!("{FOLDER}/")) || sequence_of(path.as_ref()).is_some();
    // Manifests go last, the newest of all: what is there in between is still a lake.
    let (mut manifests, files): (Vec<&Path>, Vec<&Path>) =
        objects.iter().filter(is_own).partition(|path| manifest_sequence(path).is_some());
    manifests.sort_unstable();
    for path in files.into_iter().chain(manifests) {
        match store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(said(error)),
        }
    }
    Ok(())
}
