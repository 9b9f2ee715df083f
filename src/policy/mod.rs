//! Who may call what.
//!
//! In: a proved caller and what is being called. Out: yes, or the refusal with its reason.
//! Never: widen what the record's author allowed.
