//! A disk that can be filled, and whose power can be cut: after a cut, what was synced is
//! there, and of the rest any prefix, with any of its sectors left unwritten.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 64;

#[derive(Clone, Default)]
struct FileState {
    bytes: Vec<u8>,
    synced: usize,
}

type Shared<T> = Arc<Mutex<T>>;

#[derive(Clone)]
enum NameChange {
    Create(String, Shared<FileState>),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Shared<FileState>>,
    synced_names: BTreeMap<String, Shared<FileState>>,
    /// Since the last sync of the directory, in order.
    changes: Vec<NameChange>,
    /// Bytes that can still be written; `None`: no bound.
    room: Option<usize>,
    fail_sync: bool,
    syncs: usize,
}

#[derive(Clone, Default)]
pub(super) struct SimulatedDisk {
    state: Shared<State>,
}

impl SimulatedDisk {
    pub(super) fn set_room(&self, room: Option<usize>) {
        self.state.lock().room = room;
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.state.lock().fail_sync = fail;
    }

    pub(super) fn syncs(&self) -> usize {
        self.state.lock().syncs
    }

    pub(super) fn size(&self) -> usize {
        self.state
            .lock()
            .names
            .values()
            .map(|file| file.lock().bytes.len())
            .sum()
    }

    /// Flips one bit of a file for good.
    pub(super) fn damage(&self, name: &str, offset: usize) {
        let file = self.state.lock().names[name].clone();
        file.lock().bytes[offset] ^= 0x10;
    }

    pub(super) fn length(&self, name: &str) -> usize {
        self.state.lock().names[name].lock().bytes.len()
    }

    /// What a new start finds after the power was cut now. `random` decides what of the
    /// unsynced part made it.
    pub(super) fn crash(&self, mut random: impl FnMut(usize) -> usize) -> SimulatedDisk {
        let state = self.state.lock();
        let mut names = state.synced_names.clone();
        let survivors = random(state.changes.len() + 1);
        for change in &state.changes[..survivors] {
            apply(&mut names, change.clone());
        }
        let image = SimulatedDisk::default();
        {
            let mut after = image.state.lock();
            for (name, file) in names {
                let file = file.lock();
                let keep = file.synced + random(file.bytes.len() - file.synced + 1);
                let mut bytes = file.bytes[..keep].to_vec();
                for sector in bytes[file.synced..].chunks_mut(SECTOR) {
                    if random(8) == 0 {
                        sector.fill(0);
                    }
                }
                let synced = bytes.len();
                after
                    .names
                    .insert(name, Arc::new(Mutex::new(FileState { bytes, synced })));
            }
            after.synced_names = after.names.clone();
        }
        image
    }
}

fn apply(names: &mut BTreeMap<String, Shared<FileState>>, change: NameChange) {
    match change {
        NameChange::Create(name, file) => drop(names.insert(name, file)),
        NameChange::Rename(from, to) => {
            let file = names.remove(&from).unwrap();
            names.insert(to, file);
        }
        NameChange::Remove(name) => drop(names.remove(&name)),
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, name.to_owned())
}

struct Handle {
    disk: SimulatedDisk,
    file: Shared<FileState>,
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let file = self
            .state
            .lock()
            .names
            .get(name)
            .cloned()
            .ok_or_else(|| missing(name))?;
        let bytes = file.lock().bytes.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = Shared::<FileState>::default();
        let mut state = self.state.lock();
        let change = NameChange::Create(name.to_owned(), file.clone());
        apply(&mut state.names, change.clone());
        state.changes.push(change);
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self
            .state
            .lock()
            .names
            .get(name)
            .cloned()
            .ok_or_else(|| missing(name))?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        apply(&mut state.names, change.clone());
        state.changes.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        apply(&mut state.names, NameChange::Remove(name.to_owned()));
        state.changes.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.synced_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

impl DiskFile for Handle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let fits = state.room.unwrap_or(usize::MAX).min(bytes.len());
        if let Some(room) = &mut state.room {
            *room -= fits;
        }
        self.file.lock().bytes.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut file = self.file.lock();
        let freed = file.bytes.len().saturating_sub(length as usize);
        file.bytes.truncate(length as usize);
        file.synced = file.synced.min(length as usize);
        if let Some(room) = &mut self.disk.state.lock().room {
            *room += freed;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.fail_sync {
            return Err(io::Error::other("simulated failure"));
        }
        state.syncs += 1;
        let mut file = self.file.lock();
        file.synced = file.bytes.len();
        Ok(())
    }
}
