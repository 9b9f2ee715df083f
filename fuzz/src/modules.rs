//! Admission.

use at_functions::lexicon::Mode;
use at_functions::sandbox;

/// Any bytes as a module or component, by the rules of the mode that the first byte chooses: no panic,
/// the same verdict twice, and a refusal is short text that a terminal can show.
pub fn module(bytes: &[u8]) {
    let Some((mode, code)) = bytes.split_first() else { return };
    let mode = Mode::ALL[usize::from(*mode) % Mode::ALL.len()];
    let verdict = sandbox::judge(mode, code);
    if let Err(refusal) = &verdict {
        let told = refusal.to_string();
        assert!(told.len() <= 4096 && !told.contains(char::is_control), "{told:?}");
    }
    assert_eq!(sandbox::judge(mode, code), verdict);
}
