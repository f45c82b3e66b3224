"""Device-cloud collaboration: a sample of which a task is not confident is answered by a larger model.

For example::

    tasks = [CloudTask("digits", "digits.cloud", SessionModel("large.onnx"), Signature.of(config))]
    service = CloudService(sink_for("tunnel.db"), tasks, CloudStore.open("sqlite:///cloud.db"))
    app = CloudApp(service, authenticate)  # ASGI; `walle cloud serve` is the same from a file

    answers = Answers("https://cloud.example", device, token)  # on the device
    found, number = answers.since(number, wait=25)
"""
