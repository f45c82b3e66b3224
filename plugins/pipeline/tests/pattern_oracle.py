"""What a pattern means, written down as directly as possible: every start is followed on its own, over all events."""

from walle_pipeline.pattern import ANY, STRICT


def satisfies(condition, event):
    return (
        condition.kind in ("*", event.kind)
        and condition.page in ("*", event.page)
        and (condition.where is None or condition.where(event))
    )


def options(steps, step, taken):
    """(step, how) that may take the next event after `taken` events of `step`, in order of preference."""
    ways = []
    more = []
    current = steps[step] if step >= 0 else None
    if current is not None:
        last = step == len(steps) - 1
        top = current.minimum if last else current.maximum
        if top is None or taken < top:
            more = [(step, STRICT if current.consecutive else "skip")]
        if taken < current.minimum:
            return more, []
    forbidden = []
    for later in range(step + 1, len(steps)):
        ways.append((later, steps[later].mode))
        forbidden += steps[later].forbids
        if steps[later].minimum:
            break
    if current is not None and not current.greedy:
        return ways + more, forbidden
    return more + ways, forbidden


def follow(steps, events, start, within):
    """All ways in which a match may begin at event number `start`: lists of event numbers."""
    complete = []

    def finished(step, taken):
        return step == len(steps) - 1 and taken == steps[step].minimum

    def go(step, taken, path, at):
        if finished(step, taken):
            complete.append(path)
            return
        for i in range(at, len(events)):
            event = events[i]
            if within is not None and event.time - events[path[0]].time >= within:
                return
            ways, forbidden = options(steps, step, taken)
            for target, mode in ways:
                if mode == STRICT and i != path[-1] + 1:
                    continue
                if satisfies(steps[target].condition, event):
                    go(target, taken + 1 if target == step else 1, [*path, i], i + 1)
                    if mode == ANY:
                        break
                    return
            else:
                if any(satisfies(condition, event) for condition in forbidden):
                    return

    for target, _ in options(steps, -1, 0)[0]:
        if satisfies(steps[target].condition, events[start]):
            go(target, 1, [start], start + 1)
            break
    return complete


def matches(pattern, events):
    """Event numbers of the matches of one key's `events`, in order of their ends."""
    found = []
    for start in range(len(events)):
        found += sorted(
            follow(pattern.steps, events, start, pattern.within_ms), key=lambda path: (path[-1], path)
        )
    if pattern.after == "to_next":
        first = {}
        for path in found:
            first.setdefault(path[0], path)
        found = list(first.values())
    if pattern.after == "past_last":
        kept = []
        for path in found:  # by start, then by end
            if not kept or path[0] > kept[-1][-1]:
                kept.append(path)
        found = kept
    return found
