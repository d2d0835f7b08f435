"""Events on their way to the stream: on disk here before they are sent, and until the server has them on its disk."""
