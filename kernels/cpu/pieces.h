// Which queries attend to which keys in one step: rows of new tokens behind chains of segments, cut into chunks
// of positions, and the tokens of any row that have a chunk in common.
#pragma once

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "attention.h"

extern "C" {

// One segment of a row's keys and values; strides in numbers.
struct WorkbenchSegment {
    const void *keys, *values;
    std::int64_t key_layer, key_head, key_position, value_layer, value_head, value_position, length;
};
}

namespace workbench {

// A new token. Its partial results are those of its chunks, one after another, head by head.
struct Token {
    std::size_t row, length, chunks, first_partial;  // length: of the row, up to this token
};

// Keys and values of up to CHUNK positions, and some tokens that attend to them.
struct Piece {
    std::size_t chunk, count;
    std::size_t first_member, member_count;  // in members()
};

template <class Weight>
class Pieces {
  public:
    // Row r has the segments row_ends[r − 1] … row_ends[r] and the new tokens token_ends[r − 1] … token_ends[r],
    // whose places are behind the last segment's `length`.
    void plan(const WorkbenchSegment* segments, std::size_t row_count, const std::int64_t* row_ends,
              const std::int64_t* token_ends, std::size_t heads) {
        all_segments = segments;
        rows.clear();
        new_tokens.clear();
        pieces.clear();
        member_list.clear();
        partials = 0;
        std::vector<Shared> found;
        std::unordered_map<const void*, std::vector<std::size_t>> by_address;
        for (std::size_t r = 0; r < row_count; ++r) {
            Row row{};
            row.first_segment = r ? row_ends[r - 1] : 0;
            row.own_segment = row_ends[r] - 1;
            row.first_token = static_cast<std::size_t>(r ? token_ends[r - 1] : 0);
            row.token_count = static_cast<std::size_t>(token_ends[r]) - row.first_token;
            for (std::int64_t s = row.first_segment; s < row.own_segment; ++s) row.own_start += length_of(s);
            row.past = row.own_start + length_of(row.own_segment);
            rows.push_back(row);
            for (std::size_t i = 0; i < row.token_count; ++i) {
                const std::size_t length = row.past + i + 1, chunks = (length + CHUNK - 1) / CHUNK;
                new_tokens.push_back({r, length, chunks, partials});
                partials += heads * chunks;
            }
            collect(row, found, by_address);
        }
        for (const Shared& shared : found) divide(shared);
        // Those of most tokens first: a phase ends evenly with small ones.
        std::stable_sort(pieces.begin(), pieces.end(),
                         [](const Piece& a, const Piece& b) { return a.member_count > b.member_count; });
    }

    const std::vector<Token>& tokens() const { return new_tokens; }
    const std::vector<std::size_t>& members() const { return member_list; }
    std::size_t size() const { return pieces.size(); }
    const Piece& operator[](std::size_t i) const { return pieces[i]; }
    std::size_t partial_count() const { return partials; }

    // Where the keys and values of a piece are, in one layer and head; `zeros` stands behind the last.
    struct Place {
        const Weight *keys[CHUNK], *values[CHUNK];
    };
    void find(const Piece& piece, std::size_t layer, std::size_t head, const Weight* zeros,
              Place& place) const {
        const Row& row = rows[new_tokens[member_list[piece.first_member]].row];
        const std::size_t first = piece.chunk * CHUNK;
        std::size_t found = 0, start = 0;
        for (std::int64_t s = row.first_segment; found < piece.count; ++s) {
            const std::size_t length = length_of(s) + (s == row.own_segment ? row.token_count : 0);
            if (first + found < start + length) {
                const WorkbenchSegment& segment = all_segments[s];
                const Weight* keys = key_of(segment, layer, head);
                const Weight* values = value_of(segment, layer, head);
                for (; found < piece.count && first + found < start + length; ++found) {
                    const auto position = static_cast<std::int64_t>(first + found - start);
                    place.keys[found] = keys + position * segment.key_position;
                    place.values[found] = values + position * segment.value_position;
                }
            }
            start += length;
        }
        for (; found < CHUNK; ++found) place.keys[found] = place.values[found] = zeros;
    }

    // Where a new token's keys and values are written.
    Weight* key_place(const Token& token, std::size_t layer, std::size_t head) const {
        const WorkbenchSegment& own = all_segments[rows[token.row].own_segment];
        return const_cast<Weight*>(key_of(own, layer, head)) + own_position(token) * own.key_position;
    }
    Weight* value_place(const Token& token, std::size_t layer, std::size_t head) const {
        const WorkbenchSegment& own = all_segments[rows[token.row].own_segment];
        return const_cast<Weight*>(value_of(own, layer, head)) + own_position(token) * own.value_position;
    }

  private:
    struct Row {
        std::int64_t first_segment, own_segment;
        std::size_t first_token, token_count, own_start, past;
    };

    // A chunk, where it begins, and all tokens that attend to it.
    struct Shared {
        std::size_t chunk, offset;
        std::int64_t segment;
        std::vector<std::size_t> tokens;
    };

    std::size_t length_of(std::int64_t s) const { return static_cast<std::size_t>(all_segments[s].length); }

    static const Weight* key_of(const WorkbenchSegment& segment, std::size_t layer, std::size_t head) {
        return static_cast<const Weight*>(segment.keys) +
               static_cast<std::int64_t>(layer) * segment.key_layer +
               static_cast<std::int64_t>(head) * segment.key_head;
    }
    static const Weight* value_of(const WorkbenchSegment& segment, std::size_t layer, std::size_t head) {
        return static_cast<const Weight*>(segment.values) +
               static_cast<std::int64_t>(layer) * segment.value_layer +
               static_cast<std::int64_t>(head) * segment.value_head;
    }

    std::int64_t own_position(const Token& token) const {
        return static_cast<std::int64_t>(token.length - 1 - rows[token.row].own_start);
    }

    static bool same_tensors(const WorkbenchSegment& a, const WorkbenchSegment& b) {
        return a.keys == b.keys && a.values == b.values && a.key_layer == b.key_layer &&
               a.key_head == b.key_head && a.key_position == b.key_position &&
               a.value_layer == b.value_layer && a.value_head == b.value_head &&
               a.value_position == b.value_position;
    }

    // Adds the chunks of a row. One that lies whole in a segment before the last may be another row's as well.
    void collect(const Row& row, std::vector<Shared>& found,
                 std::unordered_map<const void*, std::vector<std::size_t>>& by_address) const {
        const std::size_t total = row.past + row.token_count;
        std::int64_t s = row.first_segment;
        std::size_t start = 0;  // of segment s
        for (std::size_t chunk = 0; row.token_count && chunk * CHUNK < total; ++chunk) {
            const std::size_t first = chunk * CHUNK;
            for (; s < row.own_segment && start + length_of(s) <= first; ++s) start += length_of(s);
            Shared* shared = nullptr;
            if (s < row.own_segment && first + CHUNK <= start + length_of(s)) {
                const std::size_t offset = first - start;
                const Weight* address = static_cast<const Weight*>(all_segments[s].keys) +
                                        static_cast<std::int64_t>(offset) * all_segments[s].key_position;
                std::vector<std::size_t>& candidates = by_address[address];
                for (const std::size_t i : candidates)
                    if (found[i].chunk == chunk && found[i].offset == offset &&
                        same_tensors(all_segments[found[i].segment], all_segments[s]))
                        shared = &found[i];
                if (shared == nullptr) candidates.push_back(found.size());
            }
            if (shared == nullptr) {
                found.push_back({chunk, first - start, s, {}});
                shared = &found.back();
            }
            // A token attends to its own position and those before: the first few may be before this chunk.
            for (std::size_t i = first > row.past ? first - row.past : 0; i < row.token_count; ++i)
                shared->tokens.push_back(row.first_token + i);
        }
    }

    // Pieces of at most MOST tokens, so that there is work for many threads.
    void divide(const Shared& shared) {
        constexpr std::size_t MOST = 32;
        for (std::size_t i = 0; i < shared.tokens.size(); i += MOST) {
            Piece piece{shared.chunk, 0, member_list.size(), std::min(MOST, shared.tokens.size() - i)};
            for (std::size_t m = i; m < i + piece.member_count; ++m) {
                const std::size_t seen = new_tokens[shared.tokens[m]].length - shared.chunk * CHUNK;
                piece.count = std::max(piece.count, std::min(CHUNK, seen));
                member_list.push_back(shared.tokens[m]);
            }
            pieces.push_back(piece);
        }
    }

    const WorkbenchSegment* all_segments = nullptr;
    std::vector<Row> rows;
    std::vector<Token> new_tokens;
    std::vector<Piece> pieces;
    std::vector<std::size_t> member_list;
    std::size_t partials = 0;
};

}  // namespace workbench
