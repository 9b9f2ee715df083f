//! `wasi:random`: real random, in small amounts; what is called insecure is the same in every run.

use crate::sandbox::component::bindings::wasi::random::{insecure, insecure_seed, random};
use crate::sandbox::guest::Guest;

impl random::Host for Guest {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; self.component.take_random(len)?];
        fill(&mut bytes)?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.component.take_random(bytes.len() as u64)?;
        fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn fill(bytes: &mut [u8]) -> wasmtime::Result<()> {
    // The machine's trouble, not the guest's.
    getrandom::fill(bytes).map_err(|error| std::io::Error::from(error).into())
}

impl insecure::Host for Guest {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let len = self.component.take_random(len)?;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.component.next_insecure().to_le_bytes());
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.component.next_insecure())
    }
}

impl insecure_seed::Host for Guest {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((0x0af0_5eed_0af0_5eed, 0x5eed_0af0_5eed_0af0))
    }
}
