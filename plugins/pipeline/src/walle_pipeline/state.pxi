# Included by _engine.pyx: one key's partial matches as values that MessagePack has, and back.

cdef list key_state(Matcher* m, uint32_t slot, dict ways, set used):
    """What `Engine.snapshot` holds of one key; `ways`: (node, group) -> patterns; `used` gets the nodes that are named."""
    cdef Key* key = m.keys.at(slot)
    cdef Partial* partial
    cdef Held* waits
    cdef Kept* kept = &key.kept
    cdef uint32_t node
    cdef size_t b, i
    cdef uint32_t s
    cdef list partials = [], held = []
    for b in range(key.buckets.size()):
        node = key.buckets[b].node
        used.add(node)
        for i in range(key.buckets[b].items.size()):
            partial = &key.buckets[b].items[i]
            left = []
            for s in range(partial.left.size()):
                left += ways.get((node, partial.left.data()[s]), ())
            steps = [partial.steps.data()[s] for s in range(partial.steps.size())]
            partials.append([node, partial.start, partial.position, partial.last, partial.passed, steps, left])
    skip, done = [], []
    if key.decides():
        skip, done = key.decided().skip, key.decided().done
        for i in range(key.decided().held.size()):
            waits = &key.decided().held[i]
            held.append([waits.pattern, waits.position, waits.end, waits.start, waits.time,
                         [waits.steps.data()[s] for s in range(waits.steps.size())]])
    rows = PyBytes_FromStringAndSize(kept.bytes.data(), kept.bytes.size())
    return [key.seq, rows, [kept.before.time, kept.before.id, kept.before.instance], kept.first, partials,
            [list(entry) for entry in skip], [list(entry) for entry in done], held]


cdef int restore_key(Matcher* m, uint32_t slot, list state, dict nodes, list kinds, list pages, list names, long_page,
                     dict patterns) except -1:
    """Takes up what `key_state` made; returns how many partial matches have no node any more.

    `kinds`, `pages`: numbers now, by the numbers then; `names`: of the pages then; `long_page`: of the schema.
    """
    cdef Key* key = m.keys.at(slot)
    cdef Partial partial
    cdef Held waits
    cdef Row row
    cdef Base base
    cdef bytes longer, rows = state[1]
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(rows)
    cdef const uint8_t* end = at + len(rows)
    cdef int lost = 0
    key.seq = state[0]
    base.time, base.id, base.instance = state[2]
    key.kept.before = key.kept.last = base
    key.kept.first = state[3]
    while at != end:
        if not get_row(at, end, base, row) or row.kind >= <uint32_t>len(kinds) or row.page >= <uint32_t>len(pages):
            raise ValueError("damaged snapshot of a trigger")
        name = names[row.page] if row.page and not pages[row.page] else None
        row.kind, row.page = kinds[row.kind], pages[row.page]
        if name is not None:  # no room for its number now
            longer = long_page(name, PyBytes_FromStringAndSize(row.rest.data(), row.rest.size()))
            row.rest = string_view(PyBytes_AS_STRING(longer), len(longer))
        key.kept.add(row)
    first, last = key.kept.first, key.kept.first + key.kept.count
    for node, start, position, taken, passed, steps, left in state[4]:
        checked_steps(steps, first, last)
        lost += not nodes[node]
        for number, members in nodes[node].items():
            partial = Partial()
            partial.start, partial.position, partial.last, partial.passed = start, position, taken, passed
            for step in steps:
                partial.steps.push(step)
            for group in {members[pattern] for pattern in left if members.get(pattern) is not None}:
                partial.left.push(group)
            adopt(partial, m[0], slot, number)
    for pattern, until in state[5]:
        if pattern in patterns:
            key.decided().skip.push_back(pair[uint32_t, uint64_t](patterns[pattern], until))
    for pattern, begin in state[6]:
        if pattern in patterns:
            key.decided().done.push_back(pair[uint32_t, uint64_t](patterns[pattern], begin))
    for pattern, position, until, start, time, steps in state[7]:
        checked_steps(steps, first, last)
        if pattern not in patterns:
            continue
        waits = Held()
        waits.pattern, waits.position, waits.end, waits.start, waits.time = patterns[pattern], position, until, start, time
        for step in steps:
            waits.steps.push(step)
        key.decided().held.push_back(waits)
    m.restored(slot)
    return lost


cdef int checked_steps(list steps, first, last) except -1:
    if not steps or steps != sorted(set(steps)) or not first <= steps[0] or not steps[len(steps) - 1] < last:
        raise ValueError("damaged snapshot of a trigger")
    return 0
