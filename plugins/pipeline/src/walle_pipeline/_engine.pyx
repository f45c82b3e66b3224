# cython: language_level=3, subinterpreters_compatible=own_gil, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False
# distutils: language = c++
"""The trigger engine: marshals events into csrc/matcher.hpp and matches out of it."""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.vector cimport vector

from walle_pipeline.packed cimport Base, Row, get_row, put_row, string_view

from walle_pipeline.matcher cimport (
    NO_SLOT, Exit, Field, Fields, Found, Held, Holder, Kept, Key, Known, Matcher, Name, Node, Partial, Pattern, Position, Rest,
    Symbol, adopt, compile_symbol, expire_into, field, finish_into, purge_into, slot_of,
)

cdef extern from *:
    """
    static const size_t POOL = 1 << 22;  // numbers in the pool of symbols; beyond it they are made anew
    """
    const size_t POOL

include "fields.pxi"
include "state.pxi"


include "match.pxi"


cdef class Engine:
    """All patterns in one trie and the partial matches of all keys.

    Args:
        schema: has `numbers` (class of event -> number), `rest(event)`, `make(...)`.
        partials: partial matches per key; the oldest are cut beyond it.
        kept: bytes of waiting events per key; the oldest partial matches are cut beyond it.
        pages: names of pages that are remembered; events of further pages cost more.
        awake: keys that are kept ready; those not touched for longest are packed beyond it.
    """

    cdef Matcher m
    cdef Holder holder
    cdef object schema, pack
    cdef Name name
    cdef dict numbers, conditions, uses, by_shape, pages, tests
    cdef list page_names
    cdef readonly list names
    cdef vector[uint32_t] pool, scratch, conds  # symbols that are kept; the present one if it is not; its conditions
    cdef vector[Fields] fields
    cdef vector[int32_t] table                  # kind, page -> where in `pool`; -1: not looked at yet
    cdef Symbol symbol
    cdef bint stale
    cdef uint32_t kinds, page_room, page_limit
    cdef public uint64_t position
    cdef readonly uint64_t failed
    cdef readonly object errors
    cdef bint paged

    def __init__(self, schema, *, uint32_t partials=4096, size_t kept=1 << 20, uint32_t pages=65536, size_t awake=4096):
        self.schema = schema
        self.pack = self.packed_rest
        self.numbers = schema.numbers
        self.kinds = len(self.numbers)
        self.conditions, self.pages, self.tests, self.by_shape = {}, {}, {}, {}
        self.page_names, self.names = [""], []
        self.page_limit = pages
        self.errors, self.uses = deque(maxlen=1000), {}
        for cls in self.numbers:
            self.fields.push_back(fields_of(schema, cls))
        self.m.limits.partials = partials
        self.m.limits.kept = kept
        self.m.keys.room = awake
        self.reindex()

    # -- patterns -----------------------------------------------------------------------------------------------------

    def condition(self, int kind, page, where):
        """Number of a condition: kind a number or -1, page a name or None, where a callable or None."""
        key = (kind, page, where)
        found = self.conditions.get(key)
        if found is None:
            if page is not None:
                self.page_number(page)
            found = self.conditions[key] = len(self.conditions)
            self.by_shape.setdefault((kind, page), []).append((found, where))
            self.stale = True
        return found

    def add(self, str name, list positions, within, int after, bint span, bint timeouts, bint paged):
        """Adds a pattern under `name`; events from now on may begin its matches. Returns its number."""
        cdef vector[Position] made
        cdef Position one
        cdef Exit way
        cdef Pattern pattern
        for exits, forbids in positions:
            one.exits.clear()
            one.forbids.clear()
            for cond, target, mode in exits:
                way.cond, way.target, way.mode = cond, target, mode
                one.exits.push_back(way)
            for cond in forbids:
                one.forbids.push_back(cond)
            made.push_back(one)
        pattern.within = INT64_MAX if within is None else within
        pattern.after = after
        pattern.span, pattern.timeouts = span, timeouts
        pattern.added = self.position + 1
        number = self.m.trie.add(pattern, made, paged)
        self.stale = True
        self.names.append(name)
        self.paged = self.paged or paged
        self.uses[number] = {cond for exits, forbids in positions for cond in (*[e[0] for e in exits], *forbids)}
        return number

    def remove(self, uint32_t number):
        """The pattern matches no more; other patterns' partial matches stay."""
        cdef vector[uint32_t] closed
        self.m.trie.remove(number)
        self.stale = True
        del self.uses[number]
        used = set().union(*self.uses.values())
        for key, cond in list(self.conditions.items()):
            if cond not in used:
                del self.conditions[key]
                self.by_shape[key[:2]].remove((cond, key[2]))
        purge_into(self.m, closed)
        for slot in closed:
            self.m.keys.close(slot)

    cdef int reindex(self) except -1:
        self.page_room = 64
        while self.page_room <= <uint32_t>len(self.page_names):
            self.page_room *= 2
        self.pool.clear()
        self.stale = False
        self.table.assign(self.kinds * self.page_room, -1)
        self.tests = {}
        return 0

    cdef uint32_t page_number(self, str name) except? 4294967295:
        cdef PyObject* found = PyDict_GetItem(self.pages, name)
        if found is not NULL:
            return <uint32_t>(<object>found)
        cdef uint32_t number = <uint32_t>len(self.page_names)
        if number >= self.page_limit:
            return 0
        self.pages[name] = number
        self.page_names.append(name)
        if number >= self.page_room:
            self.reindex()
        return number

    cdef int satisfied(self, uint32_t kind, uint32_t page, str name, object event) except -1:
        """Sets `symbol` to what an event of this kind and page means; `event` may be its parts (Schema.make)."""
        if self.pool.size() > POOL:
            self.reindex()
        cdef int32_t* cell = &self.table[kind * self.page_room + page]
        cdef list tests = []
        if page and cell[0] >= 0:
            self.symbol.at = self.pool.data() + cell[0]
            if not self.tests:
                return 0
            tests = self.tests.get(cell[0], tests)
            if not tests:
                return 0
        self.conds.clear()
        for shape in ((kind, name), (kind, None), (-1, name), (-1, None)):
            for number, where in self.by_shape.get(shape, ()):
                if where is None:
                    self.conds.push_back(number)
                elif not page or cell[0] < 0:
                    tests.append((number, where))
        if page and cell[0] < 0:
            cell[0] = <int32_t>compile_symbol(self.m.trie, self.conds.data(), self.conds.size(), self.pool)
            self.symbol.at = self.pool.data() + cell[0]
            if tests:
                self.tests[cell[0]] = tests
        if page and not tests:
            return 0
        if tests and type(event) is tuple:
            event = self.schema.make(*event)
        for number, where in tests:
            try:
                if where(event):
                    self.conds.push_back(number)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.failed += 1
                self.errors.append((event, where, error))
        self.scratch.clear()
        compile_symbol(self.m.trie, self.conds.data(), self.conds.size(), self.scratch)
        self.symbol.at = self.scratch.data()
        return 0

    # -- events -------------------------------------------------------------------------------------------------------

    def packed_rest(self, event):
        """What of the event is kept beside its head; an event that cannot be packed is kept without it."""
        try:
            rest = self.schema.rest(event)
        except Exception as error:
            self.failed += 1
            self.errors.append((event, None, error))
            rest = b""
        return rest if event.page in self.pages else self.schema.long_page(event.page, rest)

    def feed(self, events):
        """Advances by `events`, in order of time per key. Returns (matches, timeouts), each in the order of their ends.

        Raises EventError for an event whose class the schema does not have; the events before it have been taken.
        """
        cdef Row row
        cdef Rest rest
        cdef str page, key
        cdef object event
        cdef PyObject* number
        cdef const Fields* fields
        cdef list matches = [], timeouts = []
        rest.pack, rest.holder = <PyObject*>self.pack, &self.holder
        if self.stale:
            self.reindex()
        for event in events:
            number = PyDict_GetItem(self.numbers, type(event))
            if number is NULL:
                self.schema.number(event)
            row.kind = <uint32_t>(<object>number)
            fields = &self.fields[row.kind]
            if fields.known:
                page = slot(event, fields.page)
                row.time = slot(event, fields.time)
                row.id = slot(event, fields.id)
                row.instance = slot(event, fields.instance)
                key = slot(event, fields.key)
            else:
                page, key = event.page, event.key
                row.time, row.id, row.instance = event.time, event.id, event.instance
            row.page = self.page_number(page)
            rest.fields = fields if fields.known and row.page else NULL
            self.satisfied(row.kind, row.page, page, event)
            rest.event = <PyObject*>event
            self.position += 1
            self.m.counters.events += 1
            self.step(0, key, row, rest, matches, timeouts)
            if self.paged:
                self.step(1, key, row, rest, matches, timeouts)
        return matches, timeouts

    cdef int step(self, uint32_t root, str key, const Row& row, const Rest& rest, list matches, list timeouts) except -1:
        cdef uint32_t slot = self.slot_for(root, key, row.instance)
        if slot == NO_SLOT:
            return 0
        self.m.push(slot, root, self.position, row, self.symbol, rest)
        return self.stepped(slot, key, matches, timeouts)

    cdef uint32_t slot_for(self, uint32_t root, str key, uint64_t instance) except? 4294967295:
        """Where the key is kept; NO_SLOT if it is not and the present event starts nothing."""
        self.name.set(<PyObject*>key, root, instance)
        cdef uint32_t slot = self.m.keys.find(self.name.bytes, self.name.hash)
        if slot == NO_SLOT and self.symbol.start_count(root):
            slot = self.m.keys.open(self.name.bytes, self.name.hash)
        return slot

    cdef int stepped(self, uint32_t slot, str key, list matches, list timeouts) except -1:
        """1 if the key waits for nothing more."""
        if not self.m.found.empty():
            self.collect(key, matches, timeouts)
        if not self.m.keys.idle(slot):
            return 0
        self.m.keys.close(slot)
        return 1

    def feed_packed(self, bytes rows, list kinds, list pages, list keys):
        """Advances by packed rows. Returns (matches, timeouts, number of events).

        Args:
            rows: as csrc/packed.hpp writes them, relative to zeros.
            kinds: numbers of the schema's kinds, by the rows' kind.
            pages, keys: names, by the rows' page and key.

        Raises EventError at bytes that are no row; the events before them have been taken.
        """
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(rows)
        cdef const uint8_t* end = at + len(rows)
        cdef Base base
        cdef Row row
        cdef Known known
        cdef vector[uint32_t] kind_of, page_of
        cdef vector[uint32_t] slot_of
        cdef uint32_t slot
        cdef uint32_t kind, page, key
        cdef int32_t symbol
        cdef uint64_t taken = 0
        cdef list matches = [], timeouts = []
        if self.stale:
            self.reindex()
        for number in kinds:
            kind_of.push_back(number)
        for name in pages:
            page_of.push_back(self.page_number(name))
        for name in keys:
            self.name.set(<PyObject*>name, 0, 0)
            slot_of.push_back(self.m.keys.find(self.name.bytes, self.name.hash))
        while at != end:
            if not get_row(at, end, base, row) or row.kind >= kind_of.size() or row.page >= page_of.size() \
                    or row.key >= slot_of.size():
                raise self.schema.damaged(taken)
            taken += 1
            kind, page, key = row.kind, row.page, row.key
            row.kind, row.page, row.key = kind_of[kind], page_of[page], 0
            symbol = self.table[row.kind * self.page_room + row.page] if row.page else -1
            if symbol >= 0 and not self.tests:
                self.symbol.at = self.pool.data() + symbol
            else:
                event = (row.kind, pages[page], row.time, keys[key], row.id, row.instance,
                         PyBytes_FromStringAndSize(row.rest.data(), row.rest.size()))
                self.satisfied(row.kind, row.page, pages[page], event)
            known.bytes = row.rest
            if row.page == 0:
                longer = self.schema.long_page(pages[page], PyBytes_FromStringAndSize(row.rest.data(), row.rest.size()))
                known.bytes = string_view(PyBytes_AS_STRING(longer), len(longer))
            self.position += 1
            self.m.counters.events += 1
            slot = slot_of[key]
            if slot == NO_SLOT and self.symbol.start_count(0):
                slot = slot_of[key] = self.slot_for(0, keys[key], 0)
            if slot != NO_SLOT:
                self.m.push(slot, 0, self.position, row, self.symbol, known)
                if self.stepped(slot, keys[key], matches, timeouts):
                    slot_of[key] = NO_SLOT
            if self.paged:
                slot = self.slot_for(1, keys[key], row.instance)
                if slot != NO_SLOT:
                    self.m.push(slot, 1, self.position, row, self.symbol, known)
                    self.stepped(slot, keys[key], matches, timeouts)
        return matches, timeouts, taken

    def expire(self, int64_t now):
        """Ends partial matches that have waited too long at time `now`, ms. Returns (matches, timeouts)."""
        cdef vector[uint32_t] closed
        expire_into(self.m, now, closed)
        return self.closing(closed)

    def finish(self):
        """No event follows: all partial matches end. Returns (matches, timeouts)."""
        cdef vector[uint32_t] closed
        finish_into(self.m, closed)
        return self.closing(closed)

    cdef tuple closing(self, vector[uint32_t]& closed):
        cdef list matches = [], timeouts = []
        if not self.m.found.empty():
            self.collect(None, matches, timeouts)
        for slot in closed:
            self.m.keys.close(slot)
        return matches, timeouts

    @property
    def deadline(self):
        """The earliest time, ms, at which `expire` would do something; None if there is none."""
        cdef int64_t found = self.m.next_deadline()
        return None if found == INT64_MAX else found

    cdef object key_of(self, uint32_t slot):
        """The name of a key, in a pair with a page instance where it is of one."""
        cdef uint64_t instance = 0
        cdef string_view name = self.m.keys.name_of(slot)
        cdef PyObject* made = Name.key(name, instance)
        key = <object>made
        Py_DECREF(key)
        return (key, instance) if name.data()[0] else key

    cdef int collect(self, str key, list matches, list timeouts) except -1:
        """Takes what was found, for one key or, where it is None, for whichever."""
        cdef size_t i, s
        cdef Found* found
        cdef Match match
        cdef tuple steps
        for i in range(self.m.found.size()):
            found = &self.m.found[i]
            match = Match.__new__(Match)
            match.task = self.names[found.pattern]
            owner = key if key is not None else self.key_of(found.key)
            match.key = owner[0] if type(owner) is tuple else owner
            match.start, match.time, match.position = found.start, found.time, found.position
            match.timeout = found.timeout
            match.rows = PyBytes_FromStringAndSize(found.rows.data(), found.rows.size())
            match.steps = tuple([found.steps[s] for s in range(found.steps.size())])
            match.engine = self
            (timeouts if found.timeout else matches).append(match)
        self.m.found.clear()
        return 0

    def unpack(self, bytes rows, str key):
        """The events of packed rows of one key."""
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(rows)
        cdef const uint8_t* end = at + len(rows)
        cdef Base base
        cdef Row row
        cdef list events = []
        make = self.schema.make
        while at != end and get_row(at, end, base, row):
            rest = PyBytes_FromStringAndSize(row.rest.data(), row.rest.size())
            page = self.page_names[row.page]
            if row.page == 0:
                page, rest = self.schema.short_page(rest)
            events.append(make(row.kind, page, row.time, key, row.id, row.instance, rest))
        return events

    # -- what there is ------------------------------------------------------------------------------------------------

    def stats(self):
        """Counters since the start, and what is held now."""
        counters = self.m.counters
        return {
            "events": counters.events, "matches": counters.matches, "timeouts": counters.timeouts,
            "cut": counters.cut, "ended": counters.ended, "failed": self.failed, "partials": self.m.live,
            "keys": self.m.keys.size(), "awake": self.m.keys.awake(), "nodes": self.m.trie.live_nodes(),
        }

    @property
    def dead_nodes(self):
        """Nodes that patterns left behind."""
        return self.m.trie.nodes.size() - 2 - self.m.trie.live_nodes()

    def snapshot(self):
        """Partial matches of all keys as values that MessagePack has; patterns go by their numbers.

        A partial match is kept for the patterns through its node, each with the step that the node is of it.
        """
        cdef uint32_t slot
        cdef uint32_t number
        cdef size_t i
        cdef dict members = {}
        cdef dict ways = {}
        cdef list keys = []
        cdef Pattern* pattern
        for number in range(self.m.trie.patterns.size()):
            pattern = &self.m.trie.patterns[number]
            if pattern.live:
                for i in range(pattern.nodes.size()):
                    members.setdefault(pattern.nodes[i], []).append([number, i])
                for i in range(pattern.groups.size()):
                    ways.setdefault((pattern.groups[i].first, pattern.groups[i].second), []).append(number)
        used = set()
        for slot in range(self.m.keys.slots()):
            if self.m.keys.used(slot):
                name = self.key_of(slot)
                keys.append([list(name) if type(name) is tuple else name, key_state(&self.m, slot, ways, used)])
        added = [self.m.trie.patterns[number].added for number in range(self.m.trie.patterns.size())]
        return {"position": self.position, "added": added, "kinds": list(self.schema.kinds), "pages": self.page_names,
                "nodes": {node: members.get(node, []) for node in used}, "keys": keys}

    def restore(self, dict state, dict patterns):
        """Takes up a snapshot; `patterns`: their numbers then -> now. Returns how many partial matches have no pattern now.

        Raises EventError for a kind of event that is no longer in the schema, ValueError, TypeError, KeyError or IndexError
        for a damaged snapshot.
        """
        cdef dict nodes = {}
        cdef list kinds = [self.schema.number_of(name) for name in state["kinds"]]
        cdef list pages = [0] + [self.page_number(name) for name in state["pages"][1:]]
        cdef int lost = 0
        cdef Pattern* pattern
        self.position = state["position"]
        for number in range(self.m.trie.patterns.size()):
            self.m.trie.patterns[number].added = self.position + 1
        for then, number in patterns.items():
            self.m.trie.patterns[number].added = state["added"][then]
        for node, members in state["nodes"].items():
            now = nodes[node] = {}  # node now -> {pattern then: its group there}
            for then, step in members:
                if then in patterns:
                    pattern = &self.m.trie.patterns[patterns[then]]
                    groups = {pattern.groups[i].first: pattern.groups[i].second for i in range(pattern.groups.size())}
                    if step < pattern.nodes.size():
                        now.setdefault(pattern.nodes[step], {})[then] = groups.get(pattern.nodes[step])
        for name, one in state["keys"]:
            key, instance = name if type(name) is list else (name, None)
            self.name.set(<PyObject*>key, instance is not None, instance or 0)
            if self.m.keys.find(self.name.bytes, self.name.hash) != NO_SLOT:
                raise ValueError("damaged snapshot of a trigger")
            slot = self.m.keys.open(self.name.bytes, self.name.hash)
            lost += restore_key(&self.m, slot, one, nodes, kinds, pages, state["pages"], self.schema.long_page, patterns)
            if self.m.keys.idle(slot):
                self.m.keys.close(slot)
        return lost
