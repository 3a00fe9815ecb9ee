"""Transfers carried out as late as `Arrays.transfer` allows: as on a side stream that hardly runs."""

from replay.pool.device_arrays import DeviceArrays


class LateArrays(DeviceArrays):
    """CPU tensors whose transfers happen when they are joined, not before.

    `HostArrays` does them at once. Whatever touches the pages of a transfer without joining it first
    sees a difference between the two, so equal results mean that a side stream cannot be seen.
    """

    def __init__(self, device):
        super().__init__(device)
        self.late = []
        self.most_at_once = 0

    def transfer(self, *transfer):
        self.late.append(transfer)
        self.most_at_once = max(self.most_at_once, len(self.late))

    def join_transfers(self):
        late, self.late = self.late, []
        for transfer in late:
            super().transfer(*transfer)
