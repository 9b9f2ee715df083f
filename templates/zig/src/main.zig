//! Counts the words of a text: {"text": "one two"} -> {"words":2}

const std = @import("std");

const Input = struct { text: []const u8 };

fn answer(allocator: std.mem.Allocator, json: []const u8) ![]const u8 {
    const options: std.json.ParseOptions = .{ .ignore_unknown_fields = true };
    const input = std.json.parseFromSliceLeaky(Input, allocator, json, options) catch |err| {
        return std.fmt.allocPrint(allocator, "{{\"error\":\"input: {s}\"}}", .{@errorName(err)});
    };
    var words: usize = 0;
    var rest = std.mem.tokenizeAny(u8, input.text, " \t\r\n");
    while (rest.next()) |_| words += 1;
    return std.fmt.allocPrint(allocator, "{{\"words\":{d}}}", .{words});
}

/// Nothing of it is given back: the instance ends with the run.
const memory = if (@import("builtin").target.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

/// A place of `length` bytes for the host to write the input to.
export fn alloc(length: usize) ?[*]u8 {
    const place = memory.alloc(u8, length) catch return null;
    return place.ptr;
}

/// Answers the input of `length` bytes at `place`: the output's place in the upper half, its length in the lower.
export fn run(place: [*]const u8, length: usize) u64 {
    const output = answer(memory, place[0..length]) catch @panic("out of memory");
    return (@as(u64, @intFromPtr(output.ptr)) << 32) | output.len;
}

test "words are counted" {
    var arena = std.heap.ArenaAllocator.init(std.testing.allocator);
    defer arena.deinit();
    try std.testing.expectEqualStrings("{\"words\":2}", try answer(arena.allocator(), "{\"text\": \"one two\"}"));
    try std.testing.expectEqualStrings("{\"error\":\"input: MissingField\"}", try answer(arena.allocator(), "{}"));
}
