"""The orders in which published classifiers list their classes, where it is not the order of MMAction2's lists."""

from collections.abc import Mapping

from torch import Tensor

from .errors import CheckpointError
from .sources.base import Source

CLASSIFIER = 'cls_head.fc_'

# Row i of the file's classifier is class ORDERS[name][i] of MMAction2's label map. Both lists name their classes, and
# the names match one to one: Sense-X/UniFormer, video_classification/data_list/{k400/kinetics_400_categroies.txt,
# sthv1/category.txt}; mmaction2, tools/data/{kinetics/label_map_k400.txt, sthv1/label_map.txt}.
# fmt: off
ORDERS: dict[str, tuple[int, ...]] = {
    'uniformer_k400': (
        267, 192, 94, 228, 54, 280, 352, 57, 98, 170, 28, 212, 327, 363, 117, 38, 3, 234, 12, 315, 395, 253, 161, 274,
        294, 338, 111, 306, 107, 92, 116, 231, 270, 190, 364, 214, 334, 249, 370, 312, 223, 172, 297, 366, 29, 307, 378,
        275, 292, 156, 241, 206, 15, 174, 127, 91, 397, 211, 42, 134, 180, 87, 90, 265, 153, 58, 120, 244, 296, 381,
        183, 36, 80, 177, 350, 20, 311, 305, 133, 76, 8, 61, 27, 288, 86, 393, 349, 308, 13, 260, 97, 259, 30, 285, 304,
        60, 179, 106, 324, 147, 149, 49, 269, 17, 123, 318, 201, 128, 248, 130, 78, 343, 284, 18, 319, 59, 302, 126,
        301, 266, 45, 124, 131, 383, 360, 25, 316, 371, 346, 389, 268, 314, 362, 43, 222, 239, 250, 230, 351, 376, 299,
        246, 139, 185, 191, 144, 330, 113, 163, 323, 175, 226, 140, 391, 358, 356, 276, 341, 1, 26, 154, 347, 19, 215,
        256, 68, 359, 152, 377, 313, 348, 160, 44, 51, 290, 208, 150, 243, 35, 136, 277, 300, 257, 278, 159, 32, 204,
        355, 89, 2, 236, 396, 40, 320, 109, 217, 188, 251, 353, 262, 326, 65, 6, 52, 340, 361, 88, 157, 83, 55, 321,
        382, 110, 255, 337, 114, 155, 233, 165, 81, 141, 298, 158, 225, 122, 365, 102, 271, 368, 344, 309, 372, 62, 168,
        162, 198, 186, 93, 379, 145, 390, 135, 332, 200, 73, 96, 108, 178, 264, 10, 258, 336, 70, 261, 329, 342, 195,
        16, 33, 325, 37, 333, 169, 196, 115, 121, 148, 392, 77, 374, 227, 203, 252, 199, 103, 119, 209, 237, 331, 129,
        47, 112, 289, 345, 242, 72, 95, 205, 375, 132, 219, 137, 310, 335, 166, 386, 273, 216, 182, 207, 394, 118, 5,
        64, 339, 322, 48, 193, 24, 232, 224, 142, 254, 279, 151, 11, 373, 380, 7, 221, 328, 82, 387, 9, 167, 100, 41,
        238, 283, 388, 385, 399, 56, 263, 46, 39, 187, 50, 21, 164, 85, 0, 66, 79, 63, 84, 104, 367, 357, 138, 281, 67,
        23, 247, 105, 75, 53, 125, 369, 287, 293, 176, 272, 74, 181, 14, 202, 317, 71, 210, 398, 291, 99, 213, 235, 197,
        295, 171, 286, 245, 101, 303, 220, 34, 354, 189, 143, 229, 22, 282, 173, 384, 146, 194, 240, 184, 31, 69, 4,
        218,
    ),
    'uniformer_ssv1': (
        6, 68, 123, 120, 116, 11, 60, 124, 89, 88, 96, 105, 94, 156, 9, 76, 0, 83, 71, 42, 73, 84, 98, 121, 152, 148,
        134, 67, 81, 34, 90, 63, 12, 65, 110, 103, 77, 70, 150, 141, 39, 10, 45, 51, 26, 18, 5, 7, 97, 19, 104, 173,
        166, 160, 168, 85, 108, 106, 171, 50, 163, 139, 149, 135, 157, 115, 86, 74, 16, 111, 154, 129, 79, 46, 23, 119,
        125, 153, 164, 142, 145, 44, 82, 58, 56, 137, 66, 52, 146, 113, 140, 155, 162, 30, 41, 132, 170, 138, 8, 72, 14,
        28, 101, 49, 69, 55, 37, 25, 126, 57, 127, 169, 21, 147, 62, 143, 133, 112, 102, 87, 43, 75, 91, 114, 27, 36,
        93, 59, 17, 22, 80, 159, 144, 131, 31, 48, 172, 167, 161, 107, 100, 128, 130, 61, 3, 95, 35, 24, 64, 40, 38, 29,
        33, 53, 32, 92, 118, 54, 117, 151, 78, 136, 122, 158, 1, 13, 2, 4, 15, 165, 99, 47, 20, 109,
    ),
}
# fmt: on
CLASS_ORDERS = ('auto', 'as_is', *ORDERS)


def in_order(head: Mapping[str, Tensor], source: Source, order: str) -> tuple[dict[str, Tensor], str]:
    """Bring the rows of a classifier to the order of MMAction2's lists.

    Args:
        head: a checkpoint's tensors besides the backbone's, under our keys.
        order: one of ``CLASS_ORDERS``; 'auto' takes what ``source`` declares for that number of classes.

    Returns:
        The tensors, and a note on what was done or is unknown (or '').

    Raises:
        CheckpointError: if the order is one of another number of classes.
    """
    classifier = {key: tensor for key, tensor in head.items() if key.startswith(CLASSIFIER)}
    classes = len(next(iter(classifier.values()), ()))
    remark = source.order_doubts.get(classes, '') if order == 'auto' else ''
    if order == 'auto':
        order = source.class_orders.get(classes, 'as_is')
    if not classifier or order == 'as_is':
        return dict(head), remark
    remark = (
        f"the classifier's rows were brought from the order {order!r} to that of MMAction2's label map; "
        "class_order='as_is' keeps the order of the file"
    )
    return {**head, **{key: reorder(tensor, order) for key, tensor in classifier.items()}}, remark


def reorder(rows: Tensor, order: str) -> Tensor:
    """Bring the rows of a classifier's weight or bias from ``order`` to the order of MMAction2's lists.

    Raises:
        CheckpointError: if the numbers of classes differ.
    """
    permutation = ORDERS[order]
    if len(rows) != len(permutation):
        raise CheckpointError(
            f'class_order={order!r} is of {len(permutation)} classes, the classifier in the file has {len(rows)}'
        )
    result = rows.new_empty(rows.shape)
    result[list(permutation)] = rows
    return result
