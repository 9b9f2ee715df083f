//! The exam: everything that is known to have brought down a runtime of this kind, against the whole
//! service over HTTP, with guests in threads and with guests in processes.
//!
//! [`exam!`] is the table: each test with the rows of the list of attacks that it is. Every one of the
//! 80 rows is a test here or stands in [`NO_PLACE`], with its reason; SECURITY.md tells the same.
//!
//! In each row the module is in view and the answer is held to the letter. What holds in all of them is
//! `arena`'s: while a row goes on the service's health is asked for again and again and answers quickly;
//! when it is over, every place, instance and byte that was reserved is given back, memory is what it
//! was, and another function answers as it always does. Rows go on one after the other, in a test binary
//! of their own, so that nothing is measured but the service and its guest.

// The shared helpers are `pub` for their sibling modules; a test binary exports nothing.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod abi;
mod arena;
mod artifacts;
#[path = "../bomb.rs"]
mod bomb;
mod bombs;
mod components;
mod cpu;
mod deaths;
mod determinism;
mod health;
mod hosts;
mod load;
mod memory;
mod modules;
mod neighbours;
mod requests;
mod service;
#[allow(dead_code, reason = "the other test binary uses the rest of it")]
#[path = "../world.rs"]
mod world;

/// Rows that this design, or this version of it, has nothing for, as SECURITY.md tells.
const NO_PLACE: [(u32, &str); 2] = [
    (32, "no module is known that makes the compiler panic"),
    (71, "no function can call another, or itself"),
];

/// The rows of the list.
const ROWS: u32 = 80;

macro_rules! exam {
    (
        in both { $($room:ident { $($test:ident: $($row:literal)*;)+ })+ }
        in processes only { $($own_room:ident { $($own_test:ident: $($own_row:literal)*;)+ })* }
    ) => {
        mod in_threads {
            $(mod $room { $(
                #[test]
                fn $test() {
                    crate::arena::hold(at_functions::config::Isolation::Thread, crate::$room::$test);
                }
            )+ })+
        }

        mod in_processes {
            $(mod $room { $(
                #[test]
                fn $test() {
                    crate::arena::hold(at_functions::config::Isolation::Process, crate::$room::$test);
                }
            )+ })+
            $(mod $own_room { $(
                #[test]
                fn $own_test() {
                    crate::arena::hold(at_functions::config::Isolation::Process, crate::$own_room::$own_test);
                }
            )+ })*
        }

        /// Rows that have a test.
        const TESTED: &[u32] = &[$($($($row,)*)+)+ $($($($own_row,)*)+)*];
    };
}

exam! {
    in both {
        cpu {
            a_loop_in_run_ends_at_its_limit: 1;
            a_loop_in_the_start_function_ends_at_its_limit: 2;
            a_loop_in_alloc_ends_at_its_limit: 3;
            a_loop_in_dealloc_is_never_entered: 4;
            many_that_spin_at_once_leave_a_fast_one_its_turn: 6;
            bulk_operations_run_over_by_one_of_them_at_most: 7;
            endless_recursion_is_a_trap: 8;
            endless_recursion_through_a_table_is_a_trap: 9;
            a_heavy_start_function_does_not_fit_into_a_millisecond: 10;
        }
        memory {
            all_the_memory_there_is_at_the_start_is_refused: 11;
            more_at_the_start_than_the_record_allows_does_not_start: 11;
            growing_forever_is_refused_at_the_limit: 12;
            memory_grows_to_exactly_its_limit: 13;
            two_hundred_that_touch_all_they_may_wait_for_the_budget: 14;
            a_table_of_ten_million_is_refused: 15;
            a_table_that_grows_forever_is_refused_more: 16;
            memories_of_other_kinds_are_refused_by_name: 17;
            what_one_writes_nobody_finds: 18;
            segments_out_of_bounds_are_a_trap_and_leave_nothing: 19;
        }
        bombs {
            a_module_cut_off_anywhere_is_refused: 20;
            what_is_no_wasm_is_refused_and_never_loaded_as_native_code: 21;
            a_component_is_no_module_and_a_module_no_component: 22;
            more_of_anything_than_a_compiler_can_take_is_refused_before_it_compiles: 23 24 25 26;
            a_segment_at_the_far_end_of_the_memory_makes_no_image_of_all_of_it: 26;
            sections_that_nobody_reads_cost_nothing_and_have_their_end: 27;
            a_thousand_callers_of_one_cold_function_cost_one_fetch_and_one_compile: 29;
            a_stream_of_bad_modules_of_one_author_is_bounded_and_remembered: 30;
        }
        abi {
            exports_that_are_missing_or_something_else_are_named: 33;
            imports_are_refused_by_name: 34;
            the_input_goes_where_alloc_says_or_nowhere: 35 36;
            the_output_is_read_within_the_memory_or_not_at_all: 37 38 39 43;
            an_output_one_byte_over_the_cap_is_too_large: 40;
            what_is_no_json_is_no_output_each_time_anew: 41;
            an_output_beside_its_schema_fails_where_the_record_is_strict: 42;
        }
        components {
            a_component_that_spins_anywhere_ends_at_its_limit: 5;
            component_bombs_are_refused_before_they_compile: 28;
            a_components_pointers_are_held_to_its_memory: 55;
            texts_in_two_bytes_are_held_to_the_memory_too: 55;
            handles_cannot_be_forged_doubled_or_hoarded: 56;
            bits_that_stand_for_nothing_reach_nobody: 57;
            what_a_host_call_is_given_is_checked_and_bounded: 58;
            a_component_cannot_enter_itself_through_its_host: 59;
        }
        hosts {
            a_million_host_calls_end_at_the_thousandth: 44;
            a_host_call_about_memory_that_is_not_there_is_a_trap: 45;
            an_alloc_that_misbehaves_while_the_host_waits_ends_the_run: 46;
            what_a_record_does_not_allow_is_refused_by_the_entry_it_needs: 47;
            a_host_that_never_answers_ends_the_run_at_its_own_limit: 48;
            an_answer_without_end_is_cut: 49;
            a_listing_that_leads_back_to_itself_ends_at_the_quota: 50;
            no_document_leads_to_a_place_where_no_pds_is: 51;
            a_service_of_the_public_network_connects_to_no_private_address: 51 52;
            redirects_have_their_end: 52;
            what_does_not_prove_itself_never_runs: 53;
            documents_that_are_too_much_are_no_documents: 54;
            what_changes_under_a_call_is_told_and_never_mixed: 66;
            functions_of_an_account_that_is_gone_do_not_run: 67;
        }
        requests {
            requests_that_are_no_requests_are_refused: 60;
            tokens_that_prove_nothing_are_refused: 61;
            a_private_function_runs_for_its_author_alone: 62;
            limits_that_are_none_make_the_record_invalid: 63;
            names_and_messages_carry_nothing_that_a_terminal_obeys: 64;
            schemas_that_mean_harm_make_the_function_invalid: 65;
        }
        load {
            who_goes_away_stops_the_guest: 68;
            ten_times_what_fits_is_served_or_told_to_come_back: 69;
            one_caller_who_floods_takes_nothing_from_others: 70;
            a_stop_under_load_finishes_what_runs_and_takes_no_more: 72;
            more_runs_than_places_wait_and_none_fails: 76;
        }
        artifacts {
            whatever_is_wrong_with_a_file_it_is_compiled_anew: 73;
            a_disk_that_takes_nothing_costs_nothing_but_the_cache: 74;
            two_services_do_not_share_a_directory: 75;
        }
        neighbours {
            spinners_of_one_author_delay_nobody: 6;
            spinners_of_twenty_authors_delay_nobody: 6;
        }
        determinism {
            the_bits_of_a_nan_are_the_same_always: 77;
            the_same_input_gives_the_same_bytes_always: 78;
            a_function_learns_nothing_of_the_run_it_is_in: 79;
            no_error_tells_of_the_host: 80;
        }
    }
    // What dies in these is a process. With threads there is none that could.
    in processes only {
        deaths {
            a_compiler_that_is_killed_costs_its_caller_a_503_and_the_next_compile_nothing: 31;
            a_worker_that_is_killed_costs_its_own_runs_a_503: 31;
            a_module_that_takes_too_long_to_compile_costs_its_caller_a_refusal_in_time: 23;
        }
    }
}

#[test]
fn every_row_has_a_test_or_no_place_here() {
    let has_no_place = |row: &u32| NO_PLACE.iter().any(|(other, _)| other == row);
    let missing: Vec<u32> = (1..=ROWS).filter(|row| !TESTED.contains(row) && !has_no_place(row)).collect();
    assert_eq!(missing, Vec::<u32>::new());
    let in_both: Vec<u32> = TESTED.iter().copied().filter(has_no_place).collect();
    assert_eq!(in_both, Vec::<u32>::new());
    assert!(TESTED.iter().all(|row| (1..=ROWS).contains(row)));
}

#[test]
fn rows_without_a_test_are_told_to_whoever_reads_of_security() {
    let told = include_str!("../../../SECURITY.md");
    let told = told.split("\n## ").find(|part| part.starts_with("Attacks that have no place here")).unwrap();
    let rows: Vec<u32> =
        told.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse().ok()).collect();
    assert_eq!(rows, NO_PLACE.map(|(row, _)| row));
}
