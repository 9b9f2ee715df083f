//! `wasi:filesystem`: no directory to begin with, so nothing can be opened.

use wasmtime::component::Resource;

use super::of_nothing;
use crate::sandbox::component::bindings::wasi::filesystem::preopens;
use crate::sandbox::component::bindings::wasi::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use crate::sandbox::component::bindings::wasi::io::error::Error;
use crate::sandbox::component::state::{Nothing, Stream};
use crate::sandbox::guest::Guest;

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        Ok(Vec::new())
    }
}

impl types::Host for Guest {
    fn filesystem_error_code(&mut self, error: Resource<Error>) -> wasmtime::Result<Option<ErrorCode>> {
        match *self.component.get(&error)? {}
    }
}

of_nothing! {
    HostDescriptor for Descriptor {
        fn read_via_stream(Filesize) -> Result<Resource<Nothing>, ErrorCode>;
        fn write_via_stream(Filesize) -> Result<Resource<Stream>, ErrorCode>;
        fn append_via_stream() -> Result<Resource<Stream>, ErrorCode>;
        fn advise(Filesize, Filesize, Advice) -> Result<(), ErrorCode>;
        fn sync_data() -> Result<(), ErrorCode>;
        fn get_flags() -> Result<DescriptorFlags, ErrorCode>;
        fn get_type() -> Result<DescriptorType, ErrorCode>;
        fn set_size(Filesize) -> Result<(), ErrorCode>;
        fn set_times(NewTimestamp, NewTimestamp) -> Result<(), ErrorCode>;
        fn read(Filesize, Filesize) -> Result<(Vec<u8>, bool), ErrorCode>;
        fn write(Vec<u8>, Filesize) -> Result<Filesize, ErrorCode>;
        fn read_directory() -> Result<Resource<DirectoryEntryStream>, ErrorCode>;
        fn sync() -> Result<(), ErrorCode>;
        fn create_directory_at(String) -> Result<(), ErrorCode>;
        fn stat() -> Result<DescriptorStat, ErrorCode>;
        fn stat_at(PathFlags, String) -> Result<DescriptorStat, ErrorCode>;
        fn set_times_at(PathFlags, String, NewTimestamp, NewTimestamp) -> Result<(), ErrorCode>;
        fn link_at(PathFlags, String, Resource<Descriptor>, String) -> Result<(), ErrorCode>;
        fn open_at(PathFlags, String, OpenFlags, DescriptorFlags) -> Result<Resource<Descriptor>, ErrorCode>;
        fn readlink_at(String) -> Result<String, ErrorCode>;
        fn remove_directory_at(String) -> Result<(), ErrorCode>;
        fn rename_at(String, Resource<Descriptor>, String) -> Result<(), ErrorCode>;
        fn symlink_at(String, String) -> Result<(), ErrorCode>;
        fn unlink_file_at(String) -> Result<(), ErrorCode>;
        fn is_same_object(Resource<Descriptor>) -> bool;
        fn metadata_hash() -> Result<MetadataHashValue, ErrorCode>;
        fn metadata_hash_at(PathFlags, String) -> Result<MetadataHashValue, ErrorCode>;
    }

    HostDirectoryEntryStream for DirectoryEntryStream {
        fn read_directory_entry() -> Result<Option<DirectoryEntry>, ErrorCode>;
    }
}
